#include "secret_key.h"

#include <stdlib.h>

_Static_assert(SECRET_KEY_SLOTS == 1 << (32 - 19), "logcore_secret_key_slot() gives that many bits");

/* A constant word with its length. */
struct ending {
	const char *text;
	size_t len;
};

#define W(word) { word, sizeof(word) - 1 }
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* A key that ends with one of these is secret: db_password, X-Api-Key, clientSecret. */
static const struct ending secrets[] = {
	W("password"),      W("passwords"),     W("passwd"),      W("pwd"),        W("passphrase"),
	W("passcode"),      W("dbpass"),        W("userpass"),    W("token"),      W("jwt"),
	W("bearer"),        W("authorization"), W("cookie"),      W("cookies"),    W("secret"),
	W("secrets"),       W("credential"),    W("credentials"), W("apikey"),     W("apikeys"),
	W("accesskey"),     W("accesskeyid"),   W("privatekey"),  W("secretkey"),  W("signingkey"),
	W("encryptionkey"), W("masterkey"),     W("sharedkey"),   W("accountkey"), W("sessionid"),
	W("sessid"),        W("cardnumber"),    W("cvv"),
};

/* Except these, which belong to paging and to parsers. */
static const struct ending harmless[] = {
	W("pagetoken"), W("nexttoken"), W("continuationtoken"), W("synctoken"), W("cancellationtoken"),
	W("expectedtoken"),
};

/* Words that may follow: password_hash, token-value. So may digits. */
static const struct ending endings[] = {
	W("value"),     W("header"), W("hash"), W("confirmation"), W("plain"),
	W("plaintext"), W("string"), W("raw"),  W("pem"),
};

/* ---- the list -------------------------------------------------------------------- */

static bool separates(char c)
{
	return c == '_' || c == '-' || c == '.' || c == ' ';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* The last letters of a key, lower case, as many as a word may have; right-aligned in
 * w->text. *ret_whole: these are all letters of the key. */
static void letters(struct secret_word *w, const char *key, size_t len, bool *ret_whole)
{
	size_t i = SECRET_KEY_WORD_MAX;

	for (; len > 0 && i > 0; len--)
		if (!separates(key[len - 1]))
			w->text[--i] = lower(key[len - 1]);
	w->len = (uint8_t)(SECRET_KEY_WORD_MAX - i);
	*ret_whole = len == 0;
}

static bool make_word(struct secret_word *w, const char *key)
{
	struct secret_word end;
	bool whole;

	letters(&end, key, strlen(key), &whole);
	memcpy(w->text, end.text + SECRET_KEY_WORD_MAX - end.len, end.len);
	w->len = end.len;
	return whole && w->len > 0;
}

bool logcore_secret_keys_count(const char *const *list, size_t *ret)
{
	struct secret_word w;
	size_t n = 0;

	for (; list && list[n]; n++)
		if (n == SECRET_KEY_WORDS_MAX || !make_word(&w, list[n]))
			return false;
	*ret = n;
	return true;
}

static void note(struct secret_keys *k, const char end[4], size_t letters)
{
	uint8_t *shortest = &k->shortest[logcore_secret_key_slot(end, 4)];

	if (*shortest > letters)
		*shortest = (uint8_t)letters;
}

/* Note each form that the end of a key with this word may have: as it is, and with one separator. */
static void note_word(struct secret_keys *k, const char *word, size_t len)
{
	static const char between[] = "_-. ";
	char end[4];

	if (len < 3) {                  /* too many forms: look at every key */
		memset(k->shortest, 1, sizeof k->shortest);
		return;
	}
	if (len > 3)
		note(k, word + len - 4, len);
	for (const char *c = between; *c; c++)
		for (size_t at = 0; at < 3; at++) {
			memcpy(end, word + len - 3, 3);
			memmove(end + at + 1, end + at, 3 - at);
			end[at] = *c;
			note(k, end, len);
		}
	memcpy(end + 1, word + len - 3, 3);
	for (int before = 0; len == 3 && before <= UINT8_MAX; before++) {
		end[0] = (char)before;
		note(k, end, 3);
	}
}

static void note_all(struct secret_keys *k)
{
	memset(k->shortest, UINT8_MAX, sizeof k->shortest);
	for (size_t i = 0; i < COUNT(secrets); i++)
		note_word(k, secrets[i].text, secrets[i].len);
	for (size_t i = 0; i < COUNT(endings); i++)
		note_word(k, endings[i].text, endings[i].len);
	for (size_t i = 0; i < k->listed; i++)
		note_word(k, k->words[i].text, k->words[i].len);
}

bool logcore_secret_keys_init(struct secret_keys *k, const char *const *listed, const char *const *allowed)
{
	size_t n_listed = 0, n_allowed = 0;

	logcore_secret_keys_count(listed, &n_listed);
	logcore_secret_keys_count(allowed, &n_allowed);
	*k = (struct secret_keys){ .words = calloc(n_listed + n_allowed + 1, sizeof *k->words) };
	if (!k->words)
		return false;
	for (size_t i = 0; i < n_listed; i++)
		make_word(&k->words[k->listed++], listed[i]);
	for (size_t i = 0; i < n_allowed; i++)
		make_word(&k->words[n_listed + k->allowed++], allowed[i]);
	note_all(k);
	return true;
}

void logcore_secret_keys_free(struct secret_keys *k)
{
	free(k->words);
	k->words = NULL;
}

/* ---- looking a key up --------------------------------------------------------------- */

/* A word without letters is the end of nothing. */
static bool ends_with(const char *end, size_t n, const char *word, size_t len)
{
	return len > 0 && n >= len && end[-1] == word[len - 1] && memcmp(end - len, word, len) == 0;
}

static size_t length_of_end(const char *end, size_t n, const struct ending *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ends_with(end, n, list[i].text, list[i].len))
			return list[i].len;
	return 0;
}

static bool is_listed(const struct secret_keys *k, const char *end, size_t n)
{
	for (size_t i = 0; i < k->listed; i++)
		if (ends_with(end, n, k->words[i].text, k->words[i].len))
			return true;
	return length_of_end(end, n, secrets, COUNT(secrets));
}

/* The caller allows a whole key, not all keys that end so. */
static bool is_allowed(const struct secret_keys *k, const char *key, size_t len)
{
	for (size_t i = k->listed; i < k->listed + k->allowed; i++)
		if (len == k->words[i].len && memcmp(key, k->words[i].text, len) == 0)
			return true;
	return false;
}

bool logcore_secret_key_look(const struct secret_keys *k, const char *key, size_t len)
{
	struct secret_word w;
	const char *end = w.text + SECRET_KEY_WORD_MAX;
	size_t n, ending;
	bool whole;

	letters(&w, key, len, &whole);
	n = w.len;
	if (whole && is_allowed(k, end - n, n))
		return false;
	if (!is_listed(k, end, n)) {
		ending = length_of_end(end, n, endings, COUNT(endings));
		for (end -= ending, n -= ending; n > 0 && is_digit(end[-1]); n--)
			end--;
		if (n == w.len || !is_listed(k, end, n))
			return false;
	}
	return !length_of_end(end, n, harmless, COUNT(harmless));
}
