#include "redact.h"

#include <stdlib.h>

#include "patterns.h"
#include "prefilter.h"

_Static_assert(REDACT_SLOTS == 1 << (32 - 19), "logcore_redact_slot() gives that many bits");

enum { LOOK_AHEAD = 1024 };             /* behind what fits: what begins there may be known by its end */

/* A word that is known when this is compiled, with its length. */
struct ending {
	const char *text;
	size_t len;
};

#define W(word) { word, sizeof(word) - 1 }
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* A key that ends with one of them is a secret: db_password, X-Api-Key, clientSecret. */
static const struct ending secrets[] = {
	W("password"), W("passwords"), W("passwd"), W("pwd"), W("passphrase"), W("passcode"), W("dbpass"), W("userpass"),
	W("token"), W("jwt"), W("bearer"), W("authorization"), W("cookie"), W("cookies"), W("secret"), W("secrets"),
	W("credential"), W("credentials"), W("apikey"), W("apikeys"), W("accesskey"), W("accesskeyid"),
	W("privatekey"), W("secretkey"), W("signingkey"), W("encryptionkey"), W("masterkey"), W("sharedkey"),
	W("accountkey"), W("sessionid"), W("sessid"), W("cardnumber"), W("cvv"),
};

/* But not with one of these, which page through results and parse languages. */
static const struct ending harmless[] = {
	W("pagetoken"), W("nexttoken"), W("continuationtoken"), W("synctoken"), W("cancellationtoken"),
	W("expectedtoken"),
};

/* What may follow the word: password_hash, token-value. Digits, too. */
static const struct ending endings[] = {
	W("value"), W("header"), W("hash"), W("confirmation"), W("plain"), W("plaintext"), W("string"), W("raw"), W("pem"),
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

/* The letters of a key, lower case; at most as many as a word may have, from its end.
 * Right-aligned in w->text; *ret_whole tells that these are all. */
static void letters(struct redact_word *w, const char *key, size_t len, bool *ret_whole)
{
	size_t i = REDACT_WORD_MAX;

	for (; len > 0 && i > 0; len--)
		if (!separates(key[len - 1]))
			w->text[--i] = lower(key[len - 1]);
	w->len = (uint8_t)(REDACT_WORD_MAX - i);
	*ret_whole = len == 0;
}

static bool make_word(struct redact_word *w, const char *key)
{
	struct redact_word end;
	bool whole;

	letters(&end, key, strlen(key), &whole);
	memcpy(w->text, end.text + REDACT_WORD_MAX - end.len, end.len);
	w->len = end.len;
	return whole && w->len > 0;
}

bool logcore_redact_count(const char *const *list, size_t *ret)
{
	struct redact_word w;
	size_t n = 0;

	for (; list && list[n]; n++)
		if (n == REDACT_WORDS_MAX || !make_word(&w, list[n]))
			return false;
	*ret = n;
	return true;
}

static void note(struct redact *r, const char end[4], size_t letters)
{
	uint8_t *shortest = &r->shortest[logcore_redact_slot(end, 4)];

	if (*shortest > letters)
		*shortest = (uint8_t)letters;
}

/* All the ways in which a key with that word may end: as it is, and with one separator. */
static void note_word(struct redact *r, const char *word, size_t len)
{
	static const char between[] = "_-. ";
	char end[4];

	if (len < 3) {                  /* too many: look at every key */
		memset(r->shortest, 1, sizeof r->shortest);
		return;
	}
	if (len > 3)
		note(r, word + len - 4, len);
	for (const char *c = between; *c; c++)
		for (size_t at = 0; at < 3; at++) {
			memcpy(end, word + len - 3, 3);
			memmove(end + at + 1, end + at, 3 - at);
			end[at] = *c;
			note(r, end, len);
		}
	memcpy(end + 1, word + len - 3, 3);
	for (int before = 0; len == 3 && before <= UINT8_MAX; before++) {
		end[0] = (char)before;
		note(r, end, 3);
	}
}

static void note_all(struct redact *r)
{
	memset(r->shortest, UINT8_MAX, sizeof r->shortest);
	for (size_t i = 0; i < COUNT(secrets); i++)
		note_word(r, secrets[i].text, secrets[i].len);
	for (size_t i = 0; i < COUNT(endings); i++)
		note_word(r, endings[i].text, endings[i].len);
	for (size_t i = 0; i < r->keys; i++)
		note_word(r, r->words[i].text, r->words[i].len);
}

struct redact *logcore_redact_open(const char *const *keys, const char *const *allowed, bool shapes)
{
	size_t n_keys = 0, n_allowed = 0;
	struct redact *r;

	logcore_redact_count(keys, &n_keys);
	logcore_redact_count(allowed, &n_allowed);
	r = calloc(1, sizeof *r + (n_keys + n_allowed) * sizeof *r->words);
	if (!r)
		return NULL;
	r->words = (struct redact_word *)(r + 1);
	for (size_t i = 0; i < n_keys; i++)
		make_word(&r->words[r->keys++], keys[i]);
	for (size_t i = 0; i < n_allowed; i++)
		make_word(&r->words[n_keys + r->allowed++], allowed[i]);
	r->shapes = shapes;
	note_all(r);
	return r;
}

void logcore_redact_close(struct redact *r)
{
	free(r);
}

/* ---- looking a key up --------------------------------------------------------------- */

static bool ends_with(const char *end, size_t n, const char *word, size_t len)
{
	return n >= len && end[-1] == word[len - 1] && memcmp(end - len, word, len) == 0;
}

static size_t length_of_end(const char *end, size_t n, const struct ending *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ends_with(end, n, list[i].text, list[i].len))
			return list[i].len;
	return 0;
}

static bool is_listed(const struct redact *r, const char *end, size_t n)
{
	for (size_t i = 0; i < r->keys; i++)
		if (ends_with(end, n, r->words[i].text, r->words[i].len))
			return true;
	return length_of_end(end, n, secrets, COUNT(secrets));
}

/* The caller allows a key, not all keys that end so. */
static bool is_allowed(const struct redact *r, const char *key, size_t len)
{
	for (size_t i = r->keys; i < r->keys + r->allowed; i++)
		if (len == r->words[i].len && memcmp(key, r->words[i].text, len) == 0)
			return true;
	return false;
}

bool logcore_redact_look(const struct redact *r, const char *key, size_t len)
{
	struct redact_word w;
	const char *end = w.text + REDACT_WORD_MAX;
	size_t n, ending;
	bool whole;

	letters(&w, key, len, &whole);
	n = w.len;
	if (whole && is_allowed(r, end - n, n))
		return false;
	if (!is_listed(r, end, n)) {
		ending = length_of_end(end, n, endings, COUNT(endings));
		for (end -= ending, n -= ending; n > 0 && is_digit(end[-1]); n--)
			end--;
		if (n == w.len || !is_listed(r, end, n))
			return false;
	}
	return !length_of_end(end, n, harmless, COUNT(harmless));
}

/* ---- writing ------------------------------------------------------------------------ */

bool logcore_redact_value(struct json *j)
{
	j->redacted++;
	return logcore_json_raw(j, "\"" LOGCORE_REDACTED "\"", sizeof("\"" LOGCORE_REDACTED "\"") - 1);
}

/* The string in pieces, with the mark in place of each secret. A function of its own, so
 * that other texts need no large frame. */
__attribute__((cold, noinline)) static bool redacted_text(struct json *j, const char *s, size_t len)
{
	const char *end = logcore_json_open(j);
	struct shape_text t = { j->redact, s, len, 0 };
	struct span secret;
	bool more = true;

	if (!end)
		return false;
	for (size_t at = 0; more; at = secret.end) {
		size_t room = (size_t)(end - j->p), stop = len - at > room + LOOK_AHEAD ? at + room + LOOK_AHEAD : len;

		t.from = at;
		more = logcore_shape_next(&t, stop, &secret);
		if (!logcore_json_part(j, end, s + at, (more ? secret.start : len) - at))
			break;
		if (more)
			j->redacted++;
		if (more && !logcore_json_part(j, end, LOGCORE_REDACTED, sizeof LOGCORE_REDACTED - 1))
			break;
	}
	*j->p++ = '"';
	return true;
}

bool logcore_redact_text(struct json *j, const char *s, size_t len)
{
	if (!j->redact || !j->redact->shapes || len < SUSPECT_MIN || !logcore_suspect(s, len))
		return logcore_json_text(j, s, len);
	return redacted_text(j, s, len);
}

bool logcore_redact_has(const struct redact *r, const char *s, size_t len)
{
	struct shape_text t = { r, s, len, 0 };
	struct span secret;

	return r->shapes && len >= SUSPECT_MIN && logcore_suspect(s, len) && logcore_shape_next(&t, len, &secret);
}
