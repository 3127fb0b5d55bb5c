/*
 * read.h - read until it is all there: read(2) may give less than it was asked for, and be interrupted.
 */
#ifndef OBSERV_READ_H
#define OBSERV_READ_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Up to `max` bytes, fewer only at the end of the file. How many, or -errno. */
ssize_t read_all(int fd, void *to, size_t max);

/* The same from `offset` on, which leaves the descriptor's position alone. */
ssize_t read_all_at(int fd, void *to, size_t max, int64_t offset);

#endif
