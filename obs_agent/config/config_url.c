/*
 * config_url.c - finds what is wrong with a URL, and masks its passwords.
 *
 * Masking must work on invalid URLs too, since error messages show those. In a valid URL exactly
 * the password is masked; in an invalid one everything up to the last @ might be a password, so
 * all of it is masked.
 */
#include "config_keys.h"

#include <ctype.h>
#include <strings.h>

#include "common/parse.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define HTTP_SHAPE "write http://HOST/PATH or https://HOST/PATH"
#define POSTGRES_SHAPE "write postgres://USER:PASSWORD@HOST:5432/DATABASE"

enum { MASK_INPUT_MAX = VALUE_MAX };    /* bytes; a longer one is not shown at all */

static bool valid_port(struct text t)
{
	int64_t port;

	return parse_i64(t, &port) && isdigit((unsigned char)t.s[0]) && port >= 1 && port <= 65535;
}

/* The length of "host" or "[address]" at s, whatever follows. False: the bracket is not closed. */
static bool host_length(const char *s, const char *end_set, size_t *ret)
{
	*ret = *s == '[' ? strcspn(s, "]/?#@") : strcspn(s, end_set);
	if (*s == '[' && s[(*ret)++] != ']')
		return false;
	return true;
}

/* ---- http --------------------------------------------------------------------- */

static size_t http_scheme(const char *url)
{
	if (strncasecmp(url, "http://", 7) == 0)
		return 7;
	return strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
}

const char *http_url_problem(const char *url)
{
	size_t scheme = http_scheme(url), authority, host;
	const char *s = url + scheme, *at;

	if (!scheme)
		return "does not begin with http:// or https://; " HTTP_SHAPE;
	for (const char *c = s; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return "contains a space or control character; write a space as %20";
	authority = strcspn(s, "/?#");
	at = memchr(s, '@', authority);
	if (at && memchr(at + 1, '@', authority - (size_t)(at + 1 - s)))
		return "has more than one @ before its path; write an @ inside a password as %40";
	if (at) {
		authority -= (size_t)(at + 1 - s);
		s = at + 1;
	}
	if (!host_length(s, ":/?#", &host) || (host < authority && s[host] != ':'))
		return "has a damaged [address]; write http://[::1]:8080/PATH";
	if (host == 0)
		return "names no host; " HTTP_SHAPE;
	if (host < authority && !valid_port((struct text){ s + host + 1, authority - host - 1 }))
		return "has a port that is not 1 to 65535; correct the port, and write a special character "
		       "inside "
		       "a password in its %XX form";
	return NULL;
}

/* ---- postgres: a URI --------------------------------------------------------------- */

static size_t postgres_scheme(const char *url)
{
	if (strncmp(url, "postgres://", 11) == 0)
		return 11;
	return strncmp(url, "postgresql://", 13) == 0 ? 13 : 0;
}

/* The end of "user:password@" as libpq sees it: the first @ before any slash. */
static const char *behind_userinfo(const char *s)
{
	size_t n = strcspn(s, "@/");

	return s[n] == '@' ? s + n + 1 : s;
}

/* Check "host:port,host:port"; *ret_end is its end. */
static const char *hosts_problem(const char *s, const char **ret_end)
{
	for (;; s++) {
		size_t host;

		if (!host_length(s, ":/?,@", &host))
			return "has an [address] without its closing bracket; close it";
		s += host;
		if (*s == ':') {
			size_t port = strcspn(++s, "/?,@");

			if (port && !valid_port((struct text){ s, port }))
				return "has a port that is not 1 to 65535; correct it, or, where that is a "
				       "part of the "
				       "password, write its special characters as %XX (/ as %2F, : as %3A, ? "
				       "as %3F)";
			s += port;
		}
		if (*s != ',')
			break;
	}
	*ret_end = s;
	if (*s && *s != '/' && *s != '?')
		return "has more than one @, or text behind an [address]; write an @ inside the password as "
		       "%40";
	return NULL;
}

static const char *query_problem(const char *s)
{
	while (*s) {
		size_t n = strcspn(s, "&"), name = strcspn(s, "=&");

		if (name == 0 || name == n || memchr(s + name + 1, '=', n - name - 1))
			return "has a parameter behind the ? that is not name=value; correct it, or write a "
			       "? inside "
			       "the password as %3F";
		s += n + (s[n] == '&');
	}
	return NULL;
}

static const char *uri_problem(const char *s)
{
	const char *problem;

	for (const char *c = s; *c; c++) {
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return "contains a space or control character; write a space as %20";
		if (*c == '%' && (!isxdigit((unsigned char)c[1]) || !isxdigit((unsigned char)c[2])))
			return "has a % that is not followed by two hexadecimal digits; write a % inside the "
			       "password as %25";
	}
	problem = hosts_problem(behind_userinfo(s), &s);
	if (problem)
		return problem;
	if (memchr(s, '@', strcspn(s, "?")))
		return "has an @ behind the host; write an @ inside the password as %40 and a / as %2F";
	s += strcspn(s, "?");
	return *s ? query_problem(s + 1) : NULL;
}

/* ---- postgres: key=value --------------------------------------------------------- */

static const char *skip_space(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/* The end of a value as libpq reads it: plain up to a space, or in single quotes; a backslash
 * escapes the next character. An open quote lasts to the end. */
static const char *behind_value(const char *s, bool *ret_open)
{
	bool quoted = *s == '\'';

	for (s += quoted; *s && (quoted ? *s != '\'' : !isspace((unsigned char)*s)); s++)
		if (*s == '\\' && s[1])
			s++;
	*ret_open = quoted && !*s;
	return s + (quoted && *s);
}

static const char *pairs_problem(const char *s)
{
	bool open;

	for (s = skip_space(s); *s; s = skip_space(s)) {
		size_t name = strspn(s, "abcdefghijklmnopqrstuvwxyz_");

		s = skip_space(s + name);
		if (name == 0 || *s != '=')
			return "is neither a URI nor key=value pairs; " POSTGRES_SHAPE;
		s = behind_value(skip_space(s + 1), &open);
		if (open)
			return "has a single quote that is never closed; close it, or write a quote inside a "
			       "value as \\'";
		if (*s && !isspace((unsigned char)*s))
			return "has text right behind a closing quote; put a space between the pairs";
	}
	return NULL;
}

const char *postgres_url_problem(const char *url)
{
	size_t scheme = postgres_scheme(url);

	return scheme ? uri_problem(url + scheme) : pairs_problem(url);
}

/* ---- masking ------------------------------------------------------------------------ */

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
	const char *at;

	if (http_scheme(url) && url + http_scheme(url) == s && !http_url_problem(url)) {
		at = memchr(s, '@', strcspn(s, "/?#"));
		return at ? (struct span){ s, at } : (struct span){ NULL, NULL };
	}
	if (postgres_scheme(url) && url + postgres_scheme(url) == s && !uri_problem(s)) {
		at = behind_userinfo(s) - 1;
		return at >= s ? in_userinfo(s, at, false) : (struct span){ NULL, NULL };
	}
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
bool config_secret_name(struct text name)
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

		s = behind_value(s, &open);
		s += strcspn(s, " \t\r\n\v\f");
		next = skip_space(s);
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
	value = skip_space(s + name);
	if (name == 0 || *value != '=' || !config_secret_name((struct text){ s, name }))
		return (struct span){ NULL, NULL };
	value = query ? value + 1 : skip_space(value + 1);
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
enum { HIDDEN = 1, EMPTY = 2 };         /* part of a secret; an empty secret is before this byte */

void config_hide(char *marks, size_t from, size_t to)
{
	memset(marks + from, HIDDEN, to - from);
	if (from == to)
		marks[from] |= EMPTY;
}

void config_hide_places(const char *url, char *marks)
{
	bool bare = strncmp(url + strspn(url, LETTERS "+.-"), "://", 3) != 0 && pairs_problem(url);

	for (const char *s = url; *s;) {
		struct span hidden = span_at(url, s, bare);

		if (hidden.to && hidden.to > s)
			config_hide(marks, (size_t)(hidden.from - url), (size_t)(hidden.to - url));
		s = hidden.to && hidden.to > s ? hidden.to : s + 1;
	}
}

void config_show(const char *url, const char *marks, char *out, size_t size)
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

void config_mask_url(const char *url, char *out, size_t size)
{
	char marks[MASK_INPUT_MAX + 1] = "";

	if (size == 0)
		return;
	*out = '\0';
	if (!url)
		return;
	if (strnlen(url, MASK_INPUT_MAX + 1) > MASK_INPUT_MAX) {
		snprintf(out, size, "***");
		return;
	}
	config_hide_places(url, marks);
	config_show(url, marks, out, size);
}
