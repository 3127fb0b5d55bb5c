/*
 * nested.h - JSON text from elsewhere, as a value inside a line. Private to the library.
 *
 * Two steps over the same bytes: judge, then copy. No recursion; a bit a level.
 */
#ifndef LOGCORE_NESTED_H
#define LOGCORE_NESTED_H

#include <stdbool.h>
#include <stddef.h>

#include "json.h"

/*
 * Whether s is one JSON value (RFC 8259) in UTF-8, with space around it or not, that
 * any reader takes: without \u0000 and halves of surrogate pairs (RFC 7493), nested no
 * deeper than LOGCORE_DEPTH_MAX.
 */
bool logcore_nested_valid(const char *s, size_t len);

/* Copy a text that is valid, without the space between tokens; what is a secret by its key,
 * and a string with a secret in it, become "[redacted]" as a whole. When that takes more than
 * a text may, false, and nothing was written. */
bool logcore_nested(struct json *j, const char *s, size_t len);

#endif
