#include "check_guard.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/text.h"

struct url_parts {
	struct text scheme;                     /* with "://" */
	struct text user;                       /* with "@", empty when there is none */
	struct text host;                       /* with port */
	struct text rest;
};

static struct url_parts url_parts(const char *url)
{
	const char *sep = strstr(url, "://");
	const char *authority = sep ? sep + 3 : url;
	size_t len = strcspn(authority, "/?#");
	const char *at = memrchr(authority, '@', len);
	const char *host = at ? at + 1 : authority;

	return (struct url_parts){
		.scheme = { url, (size_t)(authority - url) },
		.user = { authority, (size_t)(host - authority) },
		.host = { host, (size_t)(authority + len - host) },
		.rest = text_of(authority + len),
	};
}

char *check_shown_url(const char *url)
{
	struct url_parts p = url_parts(url);
	char *out;

	if (asprintf(&out, "%.*s%.*s%s", (int)p.scheme.len, p.scheme.s, (int)p.host.len, p.host.s,
		     p.rest.s) < 0)
		return NULL;
	return out;
}

static bool same_text(struct text a, struct text b)
{
	return a.len == b.len && strncasecmp(a.s, b.s, a.len) == 0;
}

bool check_same_origin(const char *a, const char *b)
{
	struct url_parts x = url_parts(a), y = url_parts(b);

	return same_text(x.scheme, y.scheme) && same_text(x.host, y.host);
}

bool check_has_name(const char *url)
{
	struct text host = url_parts(url).host;

	if (host.len && host.s[0] == '[')
		return false;
	for (size_t i = 0; i < host.len && host.s[i] != ':'; i++)
		if ((host.s[i] < '0' || host.s[i] > '9') && host.s[i] != '.')
			return true;
	return false;
}

/* Cloud providers answer with credentials at such addresses. */
bool check_link_local(const struct sockaddr *s)
{
	static const unsigned char aws[16] = { 0xfd, 0x00, 0x0e, 0xc2 };        /* fd00:ec2::/32 */
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	const unsigned char *ip;

	if (s->sa_family == AF_INET) {
		ip = (const unsigned char *)&((const struct sockaddr_in *)(const void *)s)->sin_addr;
		return ip[0] == 169 && ip[1] == 254;
	}
	if (s->sa_family != AF_INET6)
		return false;
	ip = ((const struct sockaddr_in6 *)(const void *)s)->sin6_addr.s6_addr;
	return (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) || memcmp(ip, aws, 4) == 0 ||
	       (memcmp(ip, mapped, sizeof mapped) == 0 && ip[12] == 169 && ip[13] == 254);
}
