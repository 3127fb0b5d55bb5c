/*
 * file_hash.h - hashes of a piece of an open file, written "length:hash", by which it is
 * known again.
 */
#ifndef OBS_AGENT_FILE_HASH_H
#define OBS_AGENT_FILE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { FILE_HASH_MAX = 1024 };          /* bytes of the longest piece */

/* FNV-1a, 64 bits: tells texts apart, needs not withstand an attacker, who could
 * write any line into the file anyway. */
uint64_t fnv1a(const char *s, size_t n);

/* pread() until n bytes or the end; -errno on failure. */
ssize_t file_read_at(int fd, char *to, size_t n, int64_t offset);

/* "length:hash" of the n bytes before `end`; "" where there are not so many. False: they can't be read. */
bool file_hash(int fd, int64_t end, size_t n, char *out, size_t size);

/* Do the bytes before `end` (0: at the start) still have this "length:hash"? What can't be
 * read is no objection: reading on will say what is wrong. */
bool file_hash_holds(int fd, int64_t end, const char *hash);

/* Are the n bytes (FILE_HASH_MAX at most) at `offset` the same in both? */
bool file_same_bytes(int a, int b, size_t n, int64_t offset);

#endif
