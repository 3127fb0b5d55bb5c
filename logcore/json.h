/*
 * json.h - JSON text into a piece of memory that does not grow.
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
#include <string.h>

struct redact;

struct json {
	char *p;                        /* where the next byte goes */
	char *end;
	size_t text_max;                /* bytes that one text may take, quotes not counted */
	bool cut;
	const struct redact *redact;    /* NULL: everything is written as it comes */
	unsigned redacted;              /* secrets that were left out */
	const void *caller;             /* where the logging call returns to, for a backtrace */
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

/*
 * A string of several parts: _open() gives where its inside ends at the latest, NULL
 * when not even the quotes fit; then _part(), false when it was cut, and a quote, for
 * which there is room.
 */
char *logcore_json_open(struct json *j);
bool logcore_json_part(struct json *j, const char *end, const char *s, size_t len);

/* Length of the UTF-8 sequence at text (RFC 3629), 0 when it is none. */
size_t logcore_json_utf8(const char *text, size_t len);

#endif
