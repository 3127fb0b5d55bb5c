/*
 * json_scan.h - validate JSON text and find its values, without a tree or allocations.
 *
 * Promises to accept exactly the JSON of RFC 8259, within limits, and to notice JSON that
 * jsonb cannot store. Leaves out the meaning of keys and values.
 */
#ifndef WIRE_JSON_SCAN_H
#define WIRE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/text.h"

/* The input is taken to be valid UTF-8 without NUL (json_repair() makes it so). */
struct json_scan {
	const char *p;                  /* next byte */
	const char *end;
	int depth_max;                  /* deepest nesting taken */
	int keys_left;                  /* object keys that may still come */
	bool escaped;                   /* the last value was, or has, a string with an escape */
	bool repeated;                  /* two keys of one object may be equal: see json_key_bit() */
	uint64_t keys;                  /* of the last value, if it is an object: its keys' bits */
	bool unstorable;                /* saw \u0000, a lone surrogate, or a number that
					 * PostgreSQL would refuse or blow up */
};

/* What a value is, by its first byte. */
enum json_kind { JSON_INVALID, JSON_STRING, JSON_NUMBER, JSON_OBJECT, JSON_ARRAY, JSON_WORD };

static inline void json_space(struct json_scan *j)
{
	while (j->p < j->end && (unsigned char)*j->p <= ' ' &&
	       (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
		j->p++;
}

/* One of 64 bits by the bytes of a key (without quotes): equal bytes, equal bits. */
static inline uint64_t json_key_bit(struct text key)
{
	/* Of an empty key all three are quotes. */
	unsigned first = (unsigned char)key.s[0], middle = (unsigned char)key.s[key.len / 2];
	unsigned last = (unsigned char)*(key.s + key.len - 1);

	return UINT64_C(1) << ((first + 3 * middle + 5 * last + (unsigned)key.len) % 64);
}

/* Each walks over one value (or string) at j->p, spaces around it not included,
 * and gives its text; false when it is not valid. */
bool json_value(struct json_scan *j, enum json_kind *ret_kind, struct text *ret);
bool json_string(struct json_scan *j, bool *ret_escapes, struct text *ret_inside);

/* The first byte that a string can't hold as it stands: a quote, a backslash, a control; `end`: none is. */
const char *json_plain_end(const char *p, const char *end);

/* Append the characters that an escaped string (without quotes) stands for; for \u0000 and lone
 * surrogates U+FFFD. It must have passed json_string(). */
bool json_unescape(struct text inside, struct buf *out);

/*
 * Append `t` with every byte that is not UTF-8 and every NUL replaced by U+FFFD;
 * where `json` is set, also \u0000 and lone surrogates in strings, and numbers
 * that PostgreSQL would refuse or blow up become strings.
 */
bool json_repair(struct text t, bool json, struct buf *out);

#endif
