/*
 * parse.h - convert text to numbers, times and plain text, all of it or not at all.
 *
 * Each function converts the whole span and refuses empty text, trailing junk, overflow and
 * leading or trailing space. On success it sets *ret and returns true; on failure it leaves
 * *ret unchanged.
 */
#ifndef OBSERV_PARSE_H
#define OBSERV_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

/* Decimal integers, with an optional sign for the signed one. */
bool parse_i64(struct text t, int64_t *ret);
bool parse_u64(struct text t, uint64_t *ret);

/* A finite decimal number as JSON writes it. At most 64 bytes. */
bool parse_double(struct text t, double *ret);

/* RFC 3339, as in 2026-11-21T02:39:14.123456Z or +01:00, to microseconds since 1970-01-01
 * UTC. Also accepts a space or 't' for the T, a comma for the point, and a fraction of 1
 * to 9 digits, which is cut to microseconds. A time without an offset is UTC. Years 0001
 * to 9999; second 60 is read as 59.999999. */
bool parse_rfc3339(struct text t, int64_t *ret_us);

/* Write `us` as 2026-11-21T02:39:14.123456Z (27 bytes and a terminator). */
enum { RFC3339_SIZE = 28 };
void format_rfc3339(char out[RFC3339_SIZE], int64_t us);

/* Copy a text of /proc/self/mountinfo, with its \040 (blank), \011, \012 and \134 made plain, to `out`. */
bool parse_mount_text(struct text t, char *out, size_t size);

/* The value of a hexadecimal digit; -1: it is none. */
static inline int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The plural ending of a counted noun: "" for 1, "s" for any other number. */
static inline const char *plural(int64_t n)
{
	return n == 1 ? "" : "s";
}

#endif
