#include "address.h"

#include <netinet/in.h>
#include <string.h>

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
}, local_4[] = {
	{ 1, { 127 } }, { 1, { 0 } },                   /* 0.0.0.0 leads to loopback, too */
}, local_6[] = {
	{ 16, { [15] = 1 } }, { 16, { 0 } },
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

static const unsigned char *ipv4_of(const struct sockaddr *s)
{
	return (const unsigned char *)&((const struct sockaddr_in *)(const void *)s)->sin_addr;
}

static const unsigned char *ipv6_of(const struct sockaddr *s)
{
	return ((const struct sockaddr_in6 *)(const void *)s)->sin6_addr.s6_addr;
}

bool address_is_metadata(const struct sockaddr *s)
{
	const unsigned char *ip;

	if (s->sa_family == AF_INET)
		return ONE_OF(ipv4_of(s), metadata_4);
	if (s->sa_family != AF_INET6)
		return false;
	ip = ipv6_of(s);
	return (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) || ONE_OF(ip, metadata_6) ||
	       (ONE_OF(ip, with_ipv4) && ONE_OF(ip + 12, metadata_4));
}

bool address_is_this_machine(const struct sockaddr *s)
{
	const unsigned char *ip;

	if (s->sa_family == AF_INET)
		return ONE_OF(ipv4_of(s), local_4);
	if (s->sa_family != AF_INET6)
		return false;
	ip = ipv6_of(s);
	return ONE_OF(ip, local_6) || (ONE_OF(ip, with_ipv4) && ONE_OF(ip + 12, local_4));
}
