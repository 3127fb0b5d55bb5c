/*
 * fingerprint.h - by which a text is recognized again: a hash of its head, and of the bytes before
 * a position.
 *
 * A head is hashed from the bytes that were read, never again from the file, which may hold another
 * text by then. It also keeps hashes of the first 1, 2, 4 ... bytes: a copy that is shorter than
 * the head is recognized by them. The hash is FNV-1a, 64 bits. It tells texts apart and does not
 * withstand an attacker, who could write any line into the file anyway.
 */
#ifndef OBS_AGENT_FINGERPRINT_H
#define OBS_AGENT_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	HEAD_MAX = 1024,                /* bytes of a head */
	HEAD_PARTS = 10,                /* hashes of its first 1, 2, 4 ... 512 bytes */
};

/* All zero: of nothing yet. */
struct head {
	uint64_t hash;
	uint32_t len;
	bool without_parts;             /* an earlier version stored it */
	uint16_t part[HEAD_PARTS];
};

/* The n bytes follow those that are hashed; what exceeds HEAD_MAX is left out. */
void head_add(struct head *h, const char *bytes, size_t n);

/* As text: "length:hash:parts", in hexadecimal; "" for none. What can't be parsed is an empty head. */
void head_print(const struct head *h, char *out, size_t size);
void head_parse(struct head *h, const char *text);

/* Does a text that begins with these n bytes (all of it, or HEAD_MAX) begin as the head does? Of a
 * shorter text the parts decide; an empty one fits nothing. */
bool head_fits(const struct head *h, const char *bytes, size_t n);

uint64_t fingerprint_hash(const char *s, size_t n);

/* "length:hash" of n bytes; "" for none. */
void fingerprint_print(const char *s, size_t n, char *out, size_t size);

/* Do the bytes before `end` still have this "length:hash"? What can't be read is no objection:
 * reading on will say what is wrong. */
bool fingerprint_holds(int fd, int64_t end, const char *text);

/* pread() until n bytes or the end; -errno on failure. */
ssize_t file_read_at(int fd, char *to, size_t n, int64_t offset);

/* Are the n bytes (HEAD_MAX at most) at `offset` the same in both? */
bool file_same_bytes(int a, int b, size_t n, int64_t offset);

#endif
