/*
 * json.h - JSON text into a piece of memory that does not grow.
 *
 * Private to the library. Promises that the bytes from the start to `p` are valid JSON in
 * UTF-8, whatever goes in, and that nothing is written at or behind `end`. A value that
 * does not fit is left out, a text is cut between two characters; both set `cut`.
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
	const struct redact *redact;    /* NULL: secrets are not searched */
	unsigned redacted;              /* secrets that were replaced */
	const void *caller;             /* return address of the logging call, for a backtrace */
};

/* Write the bytes as they are; false when they do not fit. Inline, so that a constant length
 * becomes a few instructions. */
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

/* Write a string, cut if need be; false when not even the quotes fit. */
bool logcore_json_text(struct json *j, const char *s, size_t len);

/*
 * A string of several parts. _open() writes the first quote and returns the limit of the
 * inside, or NULL when not even the quotes fit. _part() writes a part; false when it was
 * cut. Then the caller writes the last quote, which always fits.
 */
char *logcore_json_open(struct json *j);
bool logcore_json_part(struct json *j, const char *end, const char *s, size_t len);

/* Length of the UTF-8 sequence at text (RFC 3629), 0 if it is invalid. */
size_t logcore_json_utf8(const char *text, size_t len);

#endif
