#include "url.h"

#include <ctype.h>
#include <strings.h>

#include "common/parse.h"

#define HTTP_SHAPE     "write http://HOST/PATH or https://HOST/PATH"
#define POSTGRES_SHAPE "write postgres://USER:PASSWORD@HOST:5432/DATABASE"

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

size_t url_http_scheme(const char *url)
{
	if (strncasecmp(url, "http://", 7) == 0)
		return 7;
	return strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
}

const char *url_http_problem(const char *url)
{
	size_t scheme = url_http_scheme(url), authority, host;
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

size_t url_postgres_scheme(const char *url)
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

static struct text between(const char *from, const char *to)
{
	return (struct text){ from, (size_t)(to - from) };
}

bool url_postgres_split(const char *url, struct url_postgres *ret)
{
	const char *s = url + url_postgres_scheme(url), *hosts = behind_userinfo(s),
		   *path = hosts + strcspn(hosts, "/?"), *query = path + strcspn(path, "?"), *colon;

	if (s == url)
		return false;
	*ret = (struct url_postgres){ .scheme = between(url, s),
				      .hosts = between(hosts, path),
				      .database = between(path + (*path == '/'), query),
				      .query = text_of(query) };
	if (hosts == s)
		return true;
	colon = memchr(s, ':', (size_t)(hosts - 1 - s));
	ret->user = between(s, colon ? colon : hosts - 1);
	if (colon)
		ret->password = between(colon + 1, hosts - 1);
	return true;
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

const char *url_skip_space(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/* The end of a value as libpq reads it: plain up to a space, or in single quotes; a backslash
 * escapes the next character. An open quote lasts to the end. */
const char *url_behind_value(const char *s, bool *ret_open)
{
	bool quoted = *s == '\'';

	for (s += quoted; *s && (quoted ? *s != '\'' : !isspace((unsigned char)*s)); s++)
		if (*s == '\\' && s[1])
			s++;
	*ret_open = quoted && !*s;
	return s + (quoted && *s);
}

const char *url_pairs_problem(const char *s)
{
	bool open;

	for (s = url_skip_space(s); *s; s = url_skip_space(s)) {
		size_t name = strspn(s, "abcdefghijklmnopqrstuvwxyz_");

		s = url_skip_space(s + name);
		if (name == 0 || *s != '=')
			return "is neither a URI nor key=value pairs; " POSTGRES_SHAPE;
		s = url_behind_value(url_skip_space(s + 1), &open);
		if (open)
			return "has a single quote that is never closed; close it, or write a quote inside a "
			       "value as \\'";
		if (*s && !isspace((unsigned char)*s))
			return "has text right behind a closing quote; put a space between the pairs";
	}
	return NULL;
}

const char *url_postgres_problem(const char *url)
{
	size_t scheme = url_postgres_scheme(url);

	return scheme ? uri_problem(url + scheme) : url_pairs_problem(url);
}
