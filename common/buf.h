/*
 * buf.h - a growable byte buffer with a hard limit.
 *
 * Owns its memory. Promises that a call either appends all its bytes, or leaves the buffer
 * unchanged and returns false (limit reached or out of memory). The bytes are not
 * terminated; buf_cstr() gives a C string.
 */
#ifndef OBSERV_BUF_H
#define OBSERV_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max;             /* bytes; len never exceeds it */
};

#define BUF(limit) ((struct buf){ .max = (limit) })

/* buf_room() where the memory has to grow. */
char *buf_grown(struct buf *b, size_t n);

/* Reserve n more bytes and return where they go; NULL when they do not fit. The caller
 * writes them and adds their number to len. */
static inline char *buf_room(struct buf *b, size_t n)
{
	return b->data && n <= b->cap - b->len ? b->data + b->len : buf_grown(b, n);
}

bool buf_add(struct buf *b, const void *bytes, size_t n);
bool buf_adds(struct buf *b, const char *s);

static inline bool buf_addc(struct buf *b, char c)
{
	char *to = buf_room(b, 1);

	if (!to)
		return false;
	*to = c;
	b->len++;
	return true;
}

bool buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* In network byte order, as PostgreSQL's binary format requires. */
bool buf_add_be32(struct buf *b, uint32_t v);

/* Append a JSON string with its quotes. Bytes that are not UTF-8, and NUL, become U+FFFD:
 * PostgreSQL's jsonb accepts the result for any input. */
bool buf_add_json(struct buf *b, struct text t);

/* Would buf_add_json() add the text as it stands? True only if it is ASCII, too. */
bool json_is_plain(struct text t);

/* The same without quotes, for a string that is written in parts. A part ends with a whole character. */
bool buf_add_json_part(struct buf *b, struct text t);

/* The bytes as a C string (valid until the next change); NULL when the
 * terminator does not fit. */
const char *buf_cstr(struct buf *b);

/* Drop the content, keep the memory. */
static inline void buf_reset(struct buf *b)
{
	b->len = 0;
}

/* Free the memory; the buffer can be used again. Accepts an unused buffer. */
void buf_free(struct buf *b);

#endif
