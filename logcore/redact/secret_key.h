/*
 * secret_key.h - whether a key names a secret: password, X-Api-Key, clientSecret.
 * Private to the library.
 *
 * Owns the built-in list of keys and the caller's lists. Promises that a key which is on
 * no list costs a few instructions, and that the answer does not depend on the locale.
 */
#ifndef LOGCORE_SECRET_KEY_H
#define LOGCORE_SECRET_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
	SECRET_KEY_WORD_MAX = 39,       /* letters of a key on a list */
	SECRET_KEY_WORDS_MAX = 100,     /* on each of the caller's lists */
	SECRET_KEY_SLOTS = 8192
};

struct secret_word {
	char text[SECRET_KEY_WORD_MAX]; /* lower case, without separators */
	uint8_t len;
};

struct secret_keys {
	size_t listed, allowed;         /* the caller's words of each kind */
	struct secret_word *words;      /* first the listed, then the allowed */
	uint8_t shortest[SECRET_KEY_SLOTS];     /* by hash of a key's end: length of the shortest word */
};

/* The words of a list that ends with NULL; a NULL list is empty. False when there are too
 * many words, or one is empty or too long. */
bool logcore_secret_keys_count(const char *const *list, size_t *ret);

/* Both lists have passed logcore_secret_keys_count(). False: out of memory. */
bool logcore_secret_keys_init(struct secret_keys *k, const char *const *listed, const char *const *allowed);
void logcore_secret_keys_free(struct secret_keys *k);

/* Hash of the last four bytes, ignoring case; '_' becomes 0x7f. */
static inline uint32_t logcore_secret_key_slot(const char *key, size_t len)
{
	uint32_t end = 0;

	if (len >= sizeof end)
		memcpy(&end, key + len - sizeof end, sizeof end);
	else if (len > 0)
		memcpy((char *)&end + sizeof end - len, key, len);
	return ((end | UINT32_C(0x20202020)) * UINT32_C(0x9e3779b1)) >> 19;
}

/* Whether the key is on a list; for keys that pass the hash. */
bool logcore_secret_key_look(const struct secret_keys *k, const char *key, size_t len);

static inline bool logcore_secret_key_may_end(const struct secret_keys *k, const char *key, size_t len)
{
	return len >= k->shortest[logcore_secret_key_slot(key, len)];
}

static inline bool logcore_secret_key_is_tail(char c)
{
	return (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == ' ';
}

/* Whether the key names a secret; password_2 and password_ count as password. */
static inline bool logcore_secret_key(const struct secret_keys *k, const char *key, size_t len)
{
	bool may = logcore_secret_key_may_end(k, key, len);
	size_t n = len;

	if (!may && len > 0 && logcore_secret_key_is_tail(key[len - 1])) {
		while (n > 0 && logcore_secret_key_is_tail(key[n - 1]))
			n--;
		may = logcore_secret_key_may_end(k, key, n);
	}
	return may && logcore_secret_key_look(k, key, len);
}

#endif
