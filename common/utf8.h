/*
 * utf8.h - validate, decode and encode UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing
 * above U+10FFFF), as strictly as PostgreSQL.
 */
#ifndef OBSERV_UTF8_H
#define OBSERV_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
enum { UTF8_REPLACEMENT_LEN = 3 };

/* Length of the valid sequence at s, 0 when there is none within len bytes. */
size_t utf8_sequence(const char *s, size_t len);

/* The code point of the sequence at s, n bytes long, as utf8_sequence() found it. */
uint32_t utf8_code_point(const char *s, size_t n);

/* Whether the bytes are UTF-8 without NUL, as PostgreSQL stores text. */
bool utf8_is_clean(struct text t);

/* The first bytes of s, at most max, that end with a whole character. */
size_t utf8_cut(const char *s, size_t len, size_t max);

/* Encode a code point (at most 0x10FFFF, no surrogate) and return its length. */
size_t utf8_encode(char out[4], uint32_t code_point);

#endif
