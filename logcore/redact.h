/*
 * redact.h - what looks like a secret does not get into a line. Private to the library.
 *
 * Owns the list of keys. Promises that a key which is not on it costs a few
 * instructions, and that the same text gives the same answer in any locale. Leaves out
 * how a secret looks (patterns.h) and what is no text (bytes, numbers, addresses), but for
 * their keys.
 */
#ifndef LOGCORE_REDACT_H
#define LOGCORE_REDACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "json.h"

#define LOGCORE_REDACTED "[redacted]"

enum {
	REDACT_WORD_MAX = 39,           /* letters of a key on a list */
	REDACT_WORDS_MAX = 100,         /* on each of the caller's lists */
	REDACT_SLOTS = 8192
};

struct redact_word {
	char text[REDACT_WORD_MAX];     /* lower case, without what separates words */
	uint8_t len;
};

struct redact {
	bool shapes;                    /* look at values, too */
	size_t keys, allowed;           /* how many of the caller's words there are of each */
	struct redact_word *words;      /* first the keys, then the allowed */
	uint8_t shortest[REDACT_SLOTS]; /* by hash of a key's end: letters of the shortest word with it */
};

/* The words of a list that ends with NULL; NULL is an empty one. False when there are too
 * many or one of them is empty or too long. */
bool logcore_redact_count(const char *const *list, size_t *ret);

/* Lists that were counted. NULL: out of memory. */
struct redact *logcore_redact_open(const char *const *keys, const char *const *allowed, bool shapes);
void logcore_redact_close(struct redact *r);

/* The last four bytes, without case; '_' becomes 0x7f. */
static inline uint32_t logcore_redact_slot(const char *key, size_t len)
{
	uint32_t end = 0;

	if (len >= sizeof end)
		memcpy(&end, key + len - sizeof end, sizeof end);
	else if (len > 0)
		memcpy((char *)&end + sizeof end - len, key, len);
	return ((end | UINT32_C(0x20202020)) * UINT32_C(0x9e3779b1)) >> 19;
}

/* Whether the key is on the list; for those that the hash lets through. */
bool logcore_redact_look(const struct redact *r, const char *key, size_t len);

static inline bool logcore_redact_may_end(const struct redact *r, const char *key, size_t len)
{
	return len >= r->shortest[logcore_redact_slot(key, len)];
}

static inline bool logcore_redact_is_tail(char c)
{
	return (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == ' ';
}

/* Whether what has this key is a secret; password_2 and password_ as password. */
static inline bool logcore_redact_key(const struct redact *r, const char *key, size_t len)
{
	bool may = logcore_redact_may_end(r, key, len);
	size_t n = len;

	if (!may && len > 0 && logcore_redact_is_tail(key[len - 1])) {
		while (n > 0 && logcore_redact_is_tail(key[n - 1]))
			n--;
		may = logcore_redact_may_end(r, key, n);
	}
	return may && logcore_redact_look(r, key, len);
}

/* A string, but for the secrets in it; false when not even the quotes fit. */
bool logcore_redact_text(struct json *j, const char *s, size_t len);

/* Whether there is one in a text. */
bool logcore_redact_has(const struct redact *r, const char *s, size_t len);

/* "[redacted]" in place of a value. */
bool logcore_redact_value(struct json *j);

#endif
