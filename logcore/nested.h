/*
 * nested.h - JSON text from elsewhere, as a value inside a line. Private to the library.
 *
 * Works in two passes over the same bytes: validate, then copy. No recursion: a bit for each level.
 */
#ifndef LOGCORE_NESTED_H
#define LOGCORE_NESTED_H

#include <stdbool.h>
#include <stddef.h>

#include "json.h"

/*
 * Whether s is one JSON value (RFC 8259) in UTF-8 that any reader accepts: without \u0000
 * and unpaired surrogates (RFC 7493), and nested no deeper than LOGCORE_DEPTH_MAX. Space
 * around it is allowed.
 */
bool logcore_nested_valid(const char *s, size_t len);

/* Copy a valid text without the space between its tokens. The value of a secret key, and a
 * string that contains a secret, become "[redacted]" as a whole. If the copy is longer than a
 * text may be, returns false and writes nothing. */
bool logcore_nested(struct json *j, const char *s, size_t len);

#endif
