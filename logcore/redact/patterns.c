#include "patterns.h"

#include <string.h>

#include "luhn.h"
#include "secret_key.h"

enum { KEY_MAX = 64 };                  /* bytes of a key in a text */

/* ---- small words ------------------------------------------------------------------- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A character of base64, in both alphabets. */
static bool is_base64(char c)
{
	return is_alnum(c) || c == '+' || c == '/' || c == '-' || c == '_';
}

/* A character of OAuth 2.0 tokens (RFC 6750). */
static bool is_token(char c)
{
	return is_base64(c) || c == '.' || c == '~' || c == '=';
}

static bool at(const struct pattern_text *t, size_t i, const char *word)
{
	size_t n = strlen(word);

	return i <= t->len && t->len - i >= n && memcmp(t->s + i, word, n) == 0;
}

static bool at_in_any_case(const struct pattern_text *t, size_t i, const char *lower)
{
	for (; *lower; i++, lower++)
		if (i >= t->len || (t->s[i] | 0x20) != *lower)
			return false;
	return true;
}

static size_t while_is(const struct pattern_text *t, size_t i, bool (*is)(char))
{
	while (i < t->len && is(t->s[i]))
		i++;
	return i;
}

static bool span(struct span *ret, size_t start, size_t end)
{
	*ret = (struct span){ start, end };
	return end > start;
}

/* ---- key=value, "key":"value" ------------------------------------------------------- */

static bool is_key(char c)
{
	return is_alnum(c) || c == '_' || c == '-' || c == '.';
}

/* Start of the key that ends before i. */
static size_t key_start(const struct pattern_text *t, size_t i)
{
	size_t n = i;

	while (n > t->from && i - n < KEY_MAX && is_key(t->s[n - 1]))
		n--;
	return n;
}

static bool ends_value(char c)
{
	return is_space(c) || strchr("&;,\"'`()[]{}<>|\\", c);   /* NUL, too */
}

static bool is_backslash(char c)
{
	return c == '\\';
}

/*
 * A quoted value, up to the closing quote, or to the end if there is none. In JSON inside
 * JSON, both quotes have backslashes before them; a quote within the value has more of them,
 * and each further backslash doubles their number.
 */
static bool quoted(const struct pattern_text *t, size_t i, struct span *ret)
{
	size_t open = while_is(t, i, is_backslash), level = open - i, end = open + 1;

	while (end < t->len) {
		size_t close = while_is(t, end, is_backslash), n = close - end;

		if (close < t->len && t->s[close] == t->s[open] &&
		    (n <= level || (n - level) % (2 * level + 2) == 0))
			return span(ret, open + 1, n < level ? end : close - level);
		end = close + 1;
	}
	return span(ret, open + 1, t->len);
}

/* An array or an object, to its closing bracket, or to the end if there is none. */
static bool bracketed(const struct pattern_text *t, size_t i, struct span *ret)
{
	size_t depth = 0, end = i;
	bool in_string = false;

	for (; end < t->len; end++) {
		char c = t->s[end];

		if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '[' || c == '{'))
			depth++;
		else if (!in_string && (c == ']' || c == '}') && --depth == 0)
			return span(ret, i, end + 1);
	}
	return span(ret, i, t->len);
}

/* Words for "no value" in several languages, and booleans. */
static bool is_nothing(const char *s, size_t n)
{
	static const char *const words[] = { "null", "true", "false",     "None", "True", "False",
					     "NULL", "nil",  "undefined", "yes",  "no" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strlen(words[i]) == n && memcmp(words[i], s, n) == 0)
			return true;
	return false;
}

static bool value_at(const struct pattern_text *t, size_t i, struct span *ret)
{
	size_t open = while_is(t, i, is_backslash), end = i;

	if (open >= t->len)
		return false;
	if (t->s[open] == '"' || t->s[open] == '\'')
		return quoted(t, i, ret);
	if (t->s[i] == '[' || t->s[i] == '{')
		return bracketed(t, i, ret);
	while (end < t->len && !ends_value(t->s[end]))
		end++;
	return !is_nothing(t->s + i, end - i) && span(ret, i, end);
}

static bool assignment(const struct pattern_text *t, size_t i, struct span *ret)
{
	size_t key = key_start(t, i);

	return i > key && !at(t, i + 1, "=") && logcore_secret_key(t->keys, t->s + key, i - key) &&
	       value_at(t, i + 1, ret);
}

/* At the closing quote of a key, which may be escaped. */
static bool json_member(const struct pattern_text *t, size_t i, struct span *ret)
{
	size_t colon = while_is(t, i + 1, is_space), end = i, key;

	if (!at(t, colon, ":"))
		return false;
	while (end > t->from && t->s[end - 1] == '\\')
		end--;
	key = key_start(t, end);
	return end > key && key > t->from && t->s[key - 1] == '"' &&
	       logcore_secret_key(t->keys, t->s + key, end - key) &&
	       value_at(t, while_is(t, colon + 1, is_space), ret);
}

/* ---- authorization ------------------------------------------------------------------ */

static bool is_of_host(char c)
{
	return (unsigned char)c > 0x20 && !strchr("/?#\"'<>@\\", c);
}

/* Whether "://" precedes i; some JSON writers put backslashes before the slashes. */
static bool behind_scheme(const struct pattern_text *t, size_t i)
{
	for (int slashes = 0; slashes < 2; slashes++) {
		if (i <= t->from || t->s[i - 1] != '/')
			return false;
		for (i--; i > t->from && t->s[i - 1] == '\\'; i--)
			;
	}
	return i > t->from && t->s[i - 1] == ':';
}

/* At the @ of scheme://user:password@host; the password may contain an @, too. */
static bool url_password(const struct pattern_text *t, size_t i, struct span *ret)
{
	size_t start = i, end = i, colon;

	while (start > t->from && is_of_host(t->s[start - 1]))
		start--;
	for (colon = start; colon < i && t->s[colon] != ':'; colon++)
		;
	if (colon == i || !behind_scheme(t, start))
		return false;
	for (size_t n = i; n < t->len && (is_of_host(t->s[n]) || t->s[n] == '@'); n++)
		if (t->s[n] == '@')
			end = n;
	return span(ret, colon + 1, end);
}

static int base64_value(char c)
{
	return c >= 'A' && c <= 'Z'   ? c - 'A'
	       : c >= 'a' && c <= 'z' ? c - 'a' + 26
	       : is_digit(c)          ? c - '0' + 52
	       : c == '+' || c == '-' ? 62
				      : 63;
}

/* Whether it is base64 of "user:password" with correct padding. */
static bool is_basic(const char *s, size_t n)
{
	unsigned bits = 0, have = 0;
	bool colon = false;

	if (n % 4 != 0)
		return false;
	for (size_t i = 0; i < n && s[i] != '='; i++) {
		if (!is_base64(s[i]))
			return false;
		bits = bits << 6 | (unsigned)base64_value(s[i]);
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if ((bits >> have & 0xff) < 0x20 || (bits >> have & 0xff) == 0x7f)
			return false;
		colon = colon || (bits >> have & 0xff) == ':';
	}
	return colon;
}

/* Whether it is a token rather than a word: long, and not of lower-case letters only. */
static bool is_opaque(const char *s, size_t n)
{
	bool mixed = false;

	for (size_t i = 1; i < n; i++)
		mixed = mixed || is_digit(s[i]) || (s[i] >= 'A' && s[i] <= 'Z');
	return n >= 16 && mixed;
}

/* At the start of "Bearer ..." and "Basic ...", in any case. */
static bool scheme(const struct pattern_text *t, size_t i, struct span *ret)
{
	bool basic = at_in_any_case(t, i, "basic");
	size_t word = basic ? 5 : at_in_any_case(t, i, "bearer") ? 6 : 0, start, end;

	if (word == 0 || (i > t->from && is_alnum(t->s[i - 1])) || i + word >= t->len ||
	    !is_space(t->s[i + word]))
		return false;
	start = while_is(t, i + word, is_space);
	end = while_is(t, start, is_token);
	return (basic ? is_basic : is_opaque)(t->s + start, end - start) && span(ret, start, end);
}

/* ---- tokens and keys ---------------------------------------------------------------- */

/* At the J of eyJ, which is {" in base64. A token has a header and at least two more parts. */
static bool jwt(const struct pattern_text *t, size_t i, struct span *ret)
{
	size_t start = i - 2, dot, end;

	if (i < t->from + 2 || !at(t, start, "eyJ") || (start > t->from && is_base64(t->s[start - 1])))
		return false;
	dot = while_is(t, start, is_base64);
	if (dot - start < 10 || !at(t, dot, "."))
		return false;
	end = while_is(t, dot + 1, is_base64);
	if (!at(t, end, "."))
		return false;
	while (at(t, end, "."))
		end = while_is(t, end + 1, is_base64);
	return span(ret, start, end);
}

/* At the I of AKIA or ASIA, which sixteen capitals and digits follow. */
static bool aws_key(const struct pattern_text *t, size_t i, struct span *ret)
{
	size_t start = i - 2, end;

	if (i < t->from + 2 || (!at(t, start, "AKIA") && !at(t, start, "ASIA")) ||
	    (start > t->from && is_alnum(t->s[start - 1])))
		return false;
	for (end = start; end < t->len && (is_digit(t->s[end]) || (t->s[end] >= 'A' && t->s[end] <= 'Z'));
	     end++)
		;
	return end - start == 20 && (end == t->len || !is_alnum(t->s[end])) && span(ret, start, end);
}

/* At the I of "-----BEGIN RSA PRIVATE KEY-----"; to the last dashes, or to the end. */
static bool private_key(const struct pattern_text *t, size_t i, struct span *ret)
{
	static const char BEGIN[] = "-----BEGIN ", END[] = "-----END ";
	size_t start = i, end;
	const char *last;

	if (i < t->from + 2 || !at(t, i - 2, "PRIVATE KEY"))
		return false;
	while (start > t->from && i - start < 40 && !at(t, start, BEGIN))
		start--;
	if (!at(t, start, BEGIN))
		return false;
	last = memmem(t->s + i, t->len - i, END, sizeof END - 1);
	end = last ? (size_t)(last - t->s) + sizeof END - 1 : t->len;
	while (end < t->len && t->s[end] != '-')
		end++;
	while (end < t->len && t->s[end] == '-')
		end++;
	return span(ret, start, end);
}

static bool capital(const struct pattern_text *t, size_t i, struct span *ret)
{
	return aws_key(t, i, ret) || private_key(t, i, ret);
}

/* ---- all of them ---------------------------------------------------------------------- */

static bool card_number(const struct pattern_text *t, size_t i, struct span *ret)
{
	size_t n = logcore_luhn_card(t->s, t->len, i);

	return n > 0 && span(ret, i, i + n);
}

typedef bool find(const struct pattern_text *t, size_t i, struct span *ret);

enum { NOTHING, EQUALS, QUOTE, AT, SCHEME, JWT, CAPITAL, DIGIT };

/* Which pattern to try at a byte. */
static const unsigned char kinds[256] = {
	['='] = EQUALS,  ['"'] = QUOTE, ['@'] = AT,    ['b'] = SCHEME, ['B'] = SCHEME, ['J'] = JWT,
	['I'] = CAPITAL, ['0'] = DIGIT, ['1'] = DIGIT, ['2'] = DIGIT,  ['3'] = DIGIT,  ['4'] = DIGIT,
	['5'] = DIGIT,   ['6'] = DIGIT, ['7'] = DIGIT, ['8'] = DIGIT,  ['9'] = DIGIT,
};

static find *const finders[] = {
	[EQUALS] = assignment, [QUOTE] = json_member, [AT] = url_password, [SCHEME] = scheme, [JWT] = jwt,
	[CAPITAL] = capital, [DIGIT] = card_number,
};

bool logcore_patterns_next(const struct pattern_text *t, size_t stop, struct span *ret)
{
	for (size_t i = t->from; i < stop; i++) {
		unsigned kind = kinds[(unsigned char)t->s[i]];

		if (kind != NOTHING && finders[kind](t, i, ret))
			return true;
	}
	return false;
}
