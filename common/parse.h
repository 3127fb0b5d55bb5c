/*
 * parse.h - text to numbers and times, with no way to get half an answer.
 *
 * Each function takes the whole span: empty text, trailing junk, overflow and
 * leading or trailing space are refused. On success the value is in *ret and
 * the function returns true; on failure *ret is untouched.
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

/* RFC 3339, as in 2026-11-21T02:39:14.123456Z or +01:00; a space or 't' may
 * stand for the T, a comma for the point, the fraction may have 1 to 9 digits
 * (what is below a microsecond is cut), a time without an offset is UTC.
 * Gives microseconds since 1970-01-01 UTC. Years 0001 to 9999; second 60 is
 * read as 59.999999. */
bool parse_rfc3339(struct text t, int64_t *ret_us);

/* Write `us` as 2026-11-21T02:39:14.123456Z (27 bytes and a terminator). */
enum { RFC3339_SIZE = 28 };
void format_rfc3339(char out[RFC3339_SIZE], int64_t us);

/* The ending of a noun that is counted: "" for one, "s" for any other number. */
static inline const char *plural(int64_t n)
{
	return n == 1 ? "" : "s";
}

#endif
