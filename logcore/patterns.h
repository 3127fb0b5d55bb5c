/*
 * patterns.h - secrets that are known by their looks, in a text. Private to the library.
 *
 * Promises time linear in the text, whatever is in it, and that nothing but the
 * secret itself is in a span. What it finds:
 *
 *	key=value, "key":"value"        the value, when the key is on the list (secret_key.h)
 *	scheme://user:password@host     the password
 *	Bearer and Basic                what follows, when it is a token
 *	eyJ...                          JSON Web Tokens
 *	AKIA..., ASIA...                identifiers of AWS access keys
 *	-----BEGIN ... PRIVATE KEY      the whole block
 *	4111 1111 1111 1111             card numbers, by issuer and check digit
 */
#ifndef LOGCORE_PATTERNS_H
#define LOGCORE_PATTERNS_H

#include <stdbool.h>
#include <stddef.h>

struct secret_keys;

struct pattern_text {
	const struct secret_keys *keys;
	const char *s;
	size_t len;
	size_t from;                    /* what is before was seen */
};

struct span {
	size_t start, end;
};

/* The first secret from t->from on that shows itself before `stop`. */
bool logcore_patterns_next(const struct pattern_text *t, size_t stop, struct span *ret);

#endif
