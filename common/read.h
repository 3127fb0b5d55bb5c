/*
 * read.h - read all bytes, although read(2) may return fewer or be interrupted.
 */
#ifndef OBSERV_READ_H
#define OBSERV_READ_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Read `max` bytes, or fewer if the file ends. Returns how many, or -errno. */
ssize_t read_all(int fd, void *to, size_t max);

/* The same from `offset` on, without moving the descriptor's position. */
ssize_t read_all_at(int fd, void *to, size_t max, int64_t offset);

#endif
