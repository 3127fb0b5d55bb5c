/*
 * json.h - JSON values into a piece of memory that does not grow.
 *
 * Private to the library. Promises that whatever goes in, what is between the
 * start and `p` is valid JSON text in UTF-8, and that nothing is written at or
 * behind `end`. What does not fit is left out whole, a text is cut between two
 * characters; both set `cut`.
 */
#ifndef LOGCORE_JSON_H
#define LOGCORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "logcore.h"

struct json {
	char *p;                        /* where the next byte goes */
	char *end;
	size_t text_max;                /* bytes that one text may take, quotes not counted */
	bool cut;
};

/* The bytes as they are; false when they do not fit. Here, so that a constant
 * length becomes a few instructions. */
static inline bool logcore_json_raw(struct json *j, const char *bytes, size_t n)
{
	if ((size_t)(j->end - j->p) < n) {
		j->cut = true;
		return false;
	}
	memcpy(j->p, bytes, n);
	j->p += n;
	return true;
}

/* A string; false when not even the quotes fit. */
bool logcore_json_text(struct json *j, const char *s, size_t len);

/* "key":value, and "k1":v1,"k2":v2 for a list that ends with logcore_end_(). A
 * comma goes in front of the first one when `comma`. */
void logcore_json_fields(struct json *j, const struct logcore_field *f, bool comma);

#endif
