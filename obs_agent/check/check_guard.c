#include "check_guard.h"

#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/parse.h"

enum { SECRET_TELLING = 4 };            /* bytes */

/* ---- secrets in texts --------------------------------------------------------------------- */

/* The character at *s, in lower case, with percent forms (also nested ones) decoded; moves *s behind it. */
static int take_character(const char **s)
{
	int c = (unsigned char)*(*s)++;

	while (c == '%' && hex_value((*s)[0]) >= 0 && hex_value((*s)[1]) >= 0) {
		c = hex_value((*s)[0]) * 16 + hex_value((*s)[1]);
		*s += 2;
	}
	return c == '+' ? ' ' : tolower(c);
}

/* Where `secret` ends if it begins at `s`; NULL: it does not. */
static const char *behind_secret(const char *s, const char *secret)
{
	while (*secret) {
		if (!*s || take_character(&s) != take_character(&secret))
			return NULL;
	}
	return s;
}

/* Where the longest secret ends that begins at `s`; NULL: none does. *ret_short: it is so short
 * that other text may look the same. */
static const char *behind_longest(const char *s, const struct secret *secrets, bool *ret_short)
{
	const char *longest = NULL;

	for (; secrets; secrets = secrets->next) {
		const char *end = behind_secret(s, secrets->text);

		if (!end || (longest && end <= longest))
			continue;
		longest = end;
		*ret_short = strlen(secrets->text) < SECRET_TELLING;
	}
	return longest;
}

bool check_hide(const struct secret *secrets, const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (const char *s = text, *end; *s && n + 1 < size; s = end) {
		bool is_short = false;

		end = behind_longest(s, secrets, &is_short);
		if (is_short)
			return false;
		n += (size_t)snprintf(out + n, size - n, "%.*s", end ? 3 : 1, end ? "***" : s);
		n = n < size ? n : size - 1;
		end = end ? end : s + 1;
	}
	out[n] = '\0';
	return true;
}

/* libcurl names a host beyond ASCII in another form (xn--..., or letters that stand for it). */
bool check_may_be_respelt(const struct secret *secrets)
{
	for (; secrets; secrets = secrets->next)
		for (const char *s = secrets->text; *s;)
			if (take_character(&s) >= 0x80)
				return true;
	return false;
}

/* ---- addresses ---------------------------------------------------------------------------- */

/* The first bytes of addresses at which cloud providers hand out credentials. */
static const struct prefix {
	size_t len;
	unsigned char bytes[16];
} metadata_4[] = {
	{ 2, { 169, 254 } },                            /* link-local: most of them */
	{ 4, { 100, 100, 100, 200 } },                  /* Alibaba */
	{ 4, { 168, 63, 129, 16 } },                    /* Azure */
	{ 4, { 192, 0, 0, 192 } },                      /* Oracle */
}, metadata_6[] = {
	{ 4, { 0xfd, 0x00, 0x0e, 0xc2 } },              /* AWS: fd00:ec2::254 */
	{ 4, { 0xfd, 0x20, 0x00, 0xce } },              /* Google: fd20:ce::254 */
	{ 4, { 0xfd, 0x00, 0x00, 0x42 } },              /* Scaleway: fd00:42::42 */
}, with_ipv4[] = {                                      /* an IPv4 address is behind them */
	{ 12, { [10] = 0xff, [11] = 0xff } },
	{ 12, { 0 } },
	{ 12, { 0x00, 0x64, 0xff, 0x9b } },             /* NAT64 */
};

static bool begins_with_one(const unsigned char *ip, const struct prefix *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(ip, rows[i].bytes, rows[i].len) == 0)
			return true;
	return false;
}

#define ONE_OF(ip, rows) begins_with_one(ip, rows, sizeof(rows) / sizeof *(rows))

bool check_is_metadata(const struct sockaddr *s)
{
	const unsigned char *ip;

	if (s->sa_family == AF_INET) {
		ip = (const unsigned char *)&((const struct sockaddr_in *)(const void *)s)->sin_addr;
		return ONE_OF(ip, metadata_4);
	}
	if (s->sa_family != AF_INET6)
		return false;
	ip = ((const struct sockaddr_in6 *)(const void *)s)->sin6_addr.s6_addr;
	return (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) || ONE_OF(ip, metadata_6) ||
	       (ONE_OF(ip, with_ipv4) && ONE_OF(ip + 12, metadata_4));
}
