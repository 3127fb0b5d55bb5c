/*
 * url_mask.c - in a valid URL exactly the secrets are masked. In an invalid one everything up to the last @
 * might be a password, so all of it is masked.
 */
#include "url_mask.h"

#include <ctype.h>
#include <strings.h>

#include "url.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* A part that must be masked; none when `to` is NULL. */
struct span {
	const char *from, *to;
};

/* In "user:password@" up to `at`: the part after the colon (in an invalid URL a query may come
 * first). In http a name without a password may be a token; in postgres it is a user. */
static struct span in_userinfo(const char *s, const char *at, bool lone_is_secret)
{
	size_t user = strcspn(s, ":?#&=");

	if (user < (size_t)(at - s))
		return (struct span){ s + user + 1, at };
	return lone_is_secret ? (struct span){ s, at } : (struct span){ NULL, NULL };
}

/* `s` is right after "://" (`scheme` is the start of the URL), or at the start of a text without a
 * scheme. */
static struct span userinfo_secret(const char *url, const char *s)
{
	struct url_postgres parts;
	const char *at;

	if (url_http_scheme(url) && url + url_http_scheme(url) == s && !url_http_problem(url)) {
		at = memchr(s, '@', strcspn(s, "/?#"));
		return at ? (struct span){ s, at } : (struct span){ NULL, NULL };
	}
	if (url_postgres_split(url, &parts) && parts.scheme.s + parts.scheme.len == s &&
	    !url_postgres_problem(url))
		return parts.password.s
			       ? (struct span){ parts.password.s, parts.password.s + parts.password.len }
			       : (struct span){ NULL, NULL };
	at = strrchr(s, '@');
	return at ? in_userinfo(s, at, s != url) : (struct span){ NULL, NULL };
}

/* Is `word` in the name? Where it must be a whole word, a longer one ("keyword", "author") does not
 * count. */
static bool contains(struct text name, const char *word, bool whole)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= name.len; i++) {
		struct text rest = { name.s + i + n, name.len - i - n };

		if (whole && rest.len && *rest.s == 's')
			rest = (struct text){ rest.s + 1, rest.len - 1 };
		if (strncasecmp(name.s + i, word, n) == 0 &&
		    !(whole && rest.len && islower((unsigned char)*rest.s)))
			return true;
	}
	return false;
}

/* When in doubt, mask: a percent-encoded name may spell anything. */
bool url_secret_name(struct text name)
{
	static const char *const words[] = { "passw",    "passphrase", "secret",     "token",
					     "authoriz", "authentic",  "credential", "signature",
					     "cookie",   "session",    "%" };
	static const char *const whole[] = { "pass", "pwd", "key", "auth", "sig" };
	static const char *const harmless[] = { "passfile", "sslkey", "require_auth",
						"target_session_attrs" };

	for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
		if (text_eq(name, text_of(harmless[i])))
			return false;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (contains(name, words[i], false))
			return true;
	for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
		if (contains(name, whole[i], true))
			return true;
	return false;
}

/* The end of a query parameter's value. A piece without "=" belongs to it: somebody forgot to write
 * & as %26. */
static const char *behind_parameter(const char *s)
{
	for (;;) {
		s += strcspn(s, "&");
		if (!*s || s[1 + strcspn(s + 1, "&=")] == '=')
			return s;
		s++;
	}
}

/* The same for key=value pairs, in case somebody forgot the quotes. */
static const char *behind_pair(const char *s)
{
	bool open;

	for (;;) {
		const char *next;

		s = url_behind_value(s, &open);
		s += strcspn(s, " \t\r\n\v\f");
		next = url_skip_space(s);
		if (!*next)
			return *s ? next : s;
		if (next[strcspn(next, "= \t\r\n\v\f'")] == '=')
			return s;
		s = next;
	}
}

/* Can `s` be the name of a query parameter or of a key=value pair? */
static struct span parameter_secret(const char *url, const char *s)
{
	char before = s == url ? ' ' : s[-1];
	bool query = strchr("?&;#", before) != NULL;
	const char *value;
	size_t name;

	if (!query && !isspace((unsigned char)before))
		return (struct span){ NULL, NULL };
	name = strspn(s, LETTERS "_.-%[]");
	value = url_skip_space(s + name);
	if (name == 0 || *value != '=' || !url_secret_name((struct text){ s, name }))
		return (struct span){ NULL, NULL };
	value = query ? value + 1 : url_skip_space(value + 1);
	return (struct span){ value, query ? behind_parameter(value) : behind_pair(value) };
}

/* The start of the URL whose "://" ends at `s`. */
static const char *scheme_start(const char *url, const char *s)
{
	for (s -= 3; s > url && isalnum((unsigned char)s[-1]);)
		s--;
	return s;
}

static struct span span_at(const char *url, const char *s, bool bare)
{
	struct span found = { NULL, NULL };

	if (s == url && bare)
		found = userinfo_secret(url, s);
	else if (s - url >= 3 && memcmp(s - 3, "://", 3) == 0)
		found = userinfo_secret(scheme_start(url, s), s);
	return found.to ? found : parameter_secret(url, s);
}

struct out {
	char *s;
	size_t len, size;
};

static void put(struct out *o, const char *s, size_t n)
{
	size_t room = o->size - 1 - o->len;

	n = n < room ? n : room;
	memcpy(o->s + o->len, s, n);
	o->len += n;
	o->s[o->len] = '\0';
}

/* Marks of bytes that are masked. */
enum { HIDDEN = 1, EMPTY = 2 }; /* part of a secret; an empty secret is before this byte */

void url_hide(char *marks, size_t from, size_t to)
{
	memset(marks + from, HIDDEN, to - from);
	if (from == to)
		marks[from] |= EMPTY;
}

void url_hide_places(const char *url, char *marks)
{
	bool bare = strncmp(url + strspn(url, LETTERS "+.-"), "://", 3) != 0 && url_pairs_problem(url);

	for (const char *s = url; *s;) {
		struct span hidden = span_at(url, s, bare);

		if (hidden.to && hidden.to > s)
			url_hide(marks, (size_t)(hidden.from - url), (size_t)(hidden.to - url));
		s = hidden.to && hidden.to > s ? hidden.to : s + 1;
	}
}

void url_show(const char *url, const char *marks, char *out, size_t size)
{
	struct out o = { out, 0, size };
	bool inside = false;

	*out = '\0';
	for (size_t i = 0;; i++) {
		if (marks[i] && !inside)
			put(&o, "***", 3);
		inside = marks[i] & HIDDEN;
		if (!url[i])
			break;
		if (!inside)
			put(&o, url + i, 1);
	}
}

void url_mask(const char *url, char *out, size_t size)
{
	char marks[URL_MASK_MAX + 1] = "";

	if (size == 0)
		return;
	*out = '\0';
	if (!url)
		return;
	if (strnlen(url, URL_MASK_MAX + 1) > URL_MASK_MAX) {
		snprintf(out, size, "***");
		return;
	}
	url_hide_places(url, marks);
	url_show(url, marks, out, size);
}

char *url_take_argument(char *argument)
{
	char *url = strdup(argument);
	size_t n = strlen(argument);

	if (!url)
		return NULL;
	url_mask(url, argument, n + 1);
	for (size_t used = strlen(argument); used < n; used++)
		argument[used] = '\0';
	return url;
}
