/*
 * patterns.h - find secrets in a text by their form. Private to the library.
 *
 * Promises time linear in the length of any text, and spans that contain only the secret.
 * It finds:
 *
 *	key=value, "key":"value"        the value, when the key is on the list (secret_key.h)
 *	scheme://user:password@host     the password
 *	Bearer and Basic                the token that follows
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
	size_t from;                    /* search from here; the bytes before were searched */
};

struct span {
	size_t start, end;
};

/* The first secret after t->from that is recognized before `stop`. */
bool logcore_patterns_next(const struct pattern_text *t, size_t stop, struct span *ret);

#endif
