#include "nested.h"

#include <stdint.h>
#include <string.h>

#include "logcore/redact/redact.h"

#include "logcore.h"

struct scan {
	const char *p, *end;
	uint32_t arrays;                /* a bit for each level, the innermost lowest: 1 for an array */
	unsigned depth;
};

_Static_assert(LOGCORE_DEPTH_MAX <= 32, "a level is a bit of struct scan");

/* ---- judging --------------------------------------------------------------------- */

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void skip_space(struct scan *s)
{
	while (s->p < s->end && is_space(*s->p))
		s->p++;
}

/* Consume the byte if it is next. */
static bool take(struct scan *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static bool digits(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from;
}

static bool number(struct scan *s)
{
	take(s, '-');
	if (!take(s, '0') && !digits(s))
		return false;
	if (take(s, '.') && !digits(s))
		return false;
	if (!take(s, 'e') && !take(s, 'E'))
		return true;
	if (!take(s, '+'))
		take(s, '-');
	return digits(s);
}

/* The four digits of \uXXXX; false if they are not four hex digits. */
static bool unit(struct scan *s, unsigned *ret)
{
	unsigned v = 0;

	for (int i = 0; i < 4; i++, s->p++) {
		unsigned char c = s->p < s->end ? (unsigned char)*s->p : 0;
		unsigned letter = (c | 0x20u) - 'a';

		if (c >= '0' && c <= '9')
			v = v << 4 | (c - '0');
		else if (letter < 6)
			v = v << 4 | (letter + 10);
		else
			return false;
	}
	*ret = v;
	return true;
}

/* The escape behind a backslash. */
static bool escape(struct scan *s)
{
	unsigned high, low;

	if (s->p < s->end && *s->p && strchr("\"\\/bfnrt", *s->p)) {
		s->p++;
		return true;
	}
	if (!take(s, 'u') || !unit(s, &high) || high == 0)
		return false;
	if (high < 0xd800 || high > 0xdfff)
		return true;
	return high < 0xdc00 && take(s, '\\') && take(s, 'u') && unit(s, &low) && low >= 0xdc00 &&
	       low <= 0xdfff;
}

static bool string(struct scan *s)
{
	if (!take(s, '"'))
		return false;
	while (s->p < s->end) {
		unsigned char c = (unsigned char)*s->p;
		size_t n = c < 0x80 ? 1 : logcore_json_utf8(s->p, (size_t)(s->end - s->p));

		if (c < 0x20 || n == 0)
			return false;
		s->p += n;
		if (c == '"')
			return true;
		if (c == '\\' && !escape(s))
			return false;
	}
	return false;
}

static bool word(struct scan *s, const char *w, size_t n)
{
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, w, n) != 0)
		return false;
	s->p += n;
	return true;
}

static bool scalar(struct scan *s)
{
	switch (s->p < s->end ? *s->p : '\0') {
	case '"':
		return string(s);
	case 't':
		return word(s, "true", 4);
	case 'f':
		return word(s, "false", 5);
	case 'n':
		return word(s, "null", 4);
	default:
		return number(s);
	}
}

static bool key(struct scan *s)
{
	skip_space(s);
	if (!string(s))
		return false;
	skip_space(s);
	return take(s, ':');
}

/* From the start of a value to the end of the first complete value in it. */
static bool descend(struct scan *s)
{
	for (;;) {
		bool array;

		skip_space(s);
		array = take(s, '[');
		if (!array && !take(s, '{'))
			return scalar(s);
		if (s->depth == LOGCORE_DEPTH_MAX)
			return false;
		skip_space(s);
		if (take(s, array ? ']' : '}'))
			return true;
		s->arrays = s->arrays << 1 | array;
		s->depth++;
		if (!array && !key(s))
			return false;
	}
}

/* Behind a complete value: close arrays and objects that end here. *ret_more: another value follows. */
static bool ascend(struct scan *s, bool *ret_more)
{
	*ret_more = false;
	for (; s->depth > 0; s->depth--, s->arrays >>= 1) {
		bool array = s->arrays & 1;

		skip_space(s);
		if (take(s, ',')) {
			*ret_more = true;
			return array || key(s);
		}
		if (!take(s, array ? ']' : '}'))
			return false;
	}
	skip_space(s);
	return s->p == s->end;
}

bool logcore_nested_valid(const char *text, size_t len)
{
	struct scan s = { text, text + len, 0, 0 };
	bool more = true;

	while (more)
		if (!descend(&s) || !ascend(&s, &more))
			return false;
	return true;
}

/* ---- copying, of what is valid ---------------------------------------------------- */

/* The end of the string whose opening quote is at p. */
static const char *string_end(const char *p)
{
	for (p++; *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p + 1;
}

/* The end of the value that starts at p. */
static const char *value_end(const char *p, const char *end)
{
	size_t depth = 0;

	if (*p != '"' && *p != '[' && *p != '{') {
		while (p < end && !is_space(*p) && !strchr(",]}", *p))
			p++;
		return p;
	}
	do {
		if (*p == '"') {
			p = string_end(p);
			continue;
		}
		depth += *p == '[' || *p == '{';
		depth -= *p == ']' || *p == '}';
		p++;
	} while (depth > 0);
	return p;
}

/* Whether a key is secret, with the escapes at its end undone. */
static bool is_secret(const struct secret_keys *k, const char *key, size_t len)
{
	char plain[256];
	size_t n = 0;

	if (!memchr(key, '\\', len))
		return logcore_secret_key(k, key, len);
	for (size_t i = len > sizeof plain ? len - sizeof plain : 0; i < len; i++) {
		struct scan s = { key + i + 2, key + len, 0, 0 };
		unsigned c = (unsigned char)key[i];

		if (c == '\\' && ++i < len) {
			c = (unsigned char)key[i];
			if (c == 'u' && unit(&s, &c))
				i += 4;
		}
		plain[n++] = (char)(c < 0x80 ? c : '?');
	}
	return logcore_secret_key(k, plain, n);
}

/* Copy the string at p; if it is a secret key, its value too. Returns where to continue, NULL
 * when it does not fit. */
static const char *copy_string(struct json *j, const char *p, const char *end)
{
	const char *close = string_end(p), *next = close;
	size_t len = (size_t)(close - p) - 2;

	if (!j->redact)
		return logcore_json_raw(j, p, len + 2) ? close : NULL;
	while (next < end && is_space(*next))
		next++;
	if (next == end || *next != ':') {
		if (logcore_redact_has(j->redact, p + 1, len))
			return logcore_redact_value(j) ? close : NULL;
		return logcore_json_raw(j, p, len + 2) ? close : NULL;
	}
	if (!logcore_json_raw(j, p, len + 2) || !logcore_json_raw(j, ":", 1))
		return NULL;
	for (next++; is_space(*next); next++)
		;
	if (strchr("ntf", *next) || !is_secret(&j->redact->keys, p + 1, len))
		return next;
	return logcore_redact_value(j) ? value_end(next, end) : NULL;
}

/* Skip space, which includes line ends: strings have them escaped. */
static bool copy(struct json *j, const char *p, const char *end)
{
	while (p && p < end) {
		const char *from = p;

		while (p < end && !is_space(*p) && *p != '"')
			p++;
		if (!logcore_json_raw(j, from, (size_t)(p - from)))
			return false;
		if (p < end)
			p = *p == '"' ? copy_string(j, p, end) : p + 1;
	}
	return p;
}

bool logcore_nested(struct json *j, const char *s, size_t len)
{
	char *mark = j->p, *end = j->end;
	unsigned redacted = j->redacted;
	bool done;

	if ((size_t)(end - mark) > j->text_max)
		j->end = mark + j->text_max;
	done = copy(j, s, s + len);
	j->end = end;
	if (!done) {
		j->p = mark;
		j->redacted = redacted;
	}
	return done;
}
