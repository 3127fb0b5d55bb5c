#include "check_guard.h"

#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { SECRET_TELLING = 4 };            /* bytes */

/* ---- secrets in texts --------------------------------------------------------------------- */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The character at *s, in lower case, with percent forms (also nested ones) decoded; moves *s behind it. */
static int take_character(const char **s)
{
	int c = (unsigned char)*(*s)++;

	while (c == '%' && hex((*s)[0]) >= 0 && hex((*s)[1]) >= 0) {
		c = hex((*s)[0]) * 16 + hex((*s)[1]);
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

/* ---- addresses ---------------------------------------------------------------------------- */

/* Cloud providers hand out credentials at such addresses. */
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
