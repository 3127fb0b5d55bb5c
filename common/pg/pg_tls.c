#include "pg_tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"        /* of Debian's package ca-certificates */

enum { SYSTEM_ROOT_SINCE = 160000 };    /* libpq's version that knows sslrootcert=system */

/* What an option says, in the URL or by its environment variable; NULL: nothing. */
static const char *said(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *o = options; o && o->keyword; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o->val ? o->val : o->envvar ? getenv(o->envvar) : NULL;
	return NULL;
}

static bool is_loopback(const char *address)
{
	struct in6_addr six;
	struct in_addr four;

	if (inet_pton(AF_INET, address, &four) == 1)
		return ntohl(four.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

bool pg_tls_is_local(const char *host, const char *address)
{
	if (*address)
		return is_loopback(address);
	return *host == '\0' || *host == '/' || *host == '@' || strcmp(host, "localhost") == 0 || is_loopback(host);
}

/* libpq looks there by itself, and refuses to verify where the file is not. */
static bool has_own_root(void)
{
	const char *home = getenv("HOME");
	char path[PATH_MAX];

	return home && snprintf(path, sizeof path, "%s/.postgresql/root.crt", home) < (int)sizeof path &&
	       access(path, R_OK) == 0;
}

static const char *default_root(const char *mode)
{
	if (has_own_root())
		return NULL;
	return PQlibVersion() >= SYSTEM_ROOT_SINCE && strcmp(mode, "verify-full") == 0 ? "system" : AUTHORITIES;
}

struct pg_tls pg_tls_for(const PQconninfoOption *options, bool local)
{
	const char *mode = said(options, "sslmode"), *root = said(options, "sslrootcert");
	struct pg_tls tls = { .mode = mode || local ? NULL : "verify-full" };
	const char *effective = mode ? mode : tls.mode;

	if (effective && strncmp(effective, "verify-", 7) == 0 && (!root || !*root))
		tls.root = default_root(effective);
	return tls;
}

/* The part of a list, cut at commas, that is number `i`; "" where it is shorter. */
static void part_of(const char *list, size_t i, char *out, size_t size)
{
	while (i-- > 0 && *list) {
		list += strcspn(list, ",");
		list += *list == ',';
	}
	snprintf(out, size, "%.*s", (int)strcspn(list, ","), list);
}

static size_t parts(const char *list)
{
	size_t n = *list ? 1 : 0;

	for (; *list; list++)
		n += *list == ',';
	return n;
}

/* The first server that is not this machine; false: there is none. A service file is not looked into: what it names
 * may be anywhere. */
static bool find_distant(const PQconninfoOption *options, char *name, size_t size)
{
	const char *hosts = said(options, "host"), *addresses = said(options, "hostaddr"), *service = said(options, "service");
	size_t n;

	hosts = hosts ? hosts : "";
	addresses = addresses ? addresses : "";
	n = parts(hosts) > parts(addresses) ? parts(hosts) : parts(addresses);
	for (size_t i = 0; i < n; i++) {
		char host[256], address[64];

		part_of(hosts, i, host, sizeof host);
		part_of(addresses, i, address, sizeof address);
		snprintf(name, size, "%s", *host ? host : address);
		if (!pg_tls_is_local(host, address))
			return true;
	}
	snprintf(name, size, "the service %s", service ? service : "");
	return n == 0 && service && *service;
}

struct pg_tls pg_tls_for_url(const char *url)
{
	static const struct pg_tls nothing = { 0 };
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	struct pg_tls tls = nothing;
	char name[256];

	if (options)
		tls = pg_tls_for(options, !find_distant(options, name, sizeof name));
	PQconninfoFree(options);
	return tls;
}

bool pg_tls_weakness(const char *url, char out[PG_TLS_SENTENCE_SIZE])
{
	static const struct { const char *mode, *gives_up; } rows[] = {
		{ "disable", "password and rows go unencrypted" },
		{ "allow", "password and rows may go unencrypted" },
		{ "prefer", "password and rows may go unencrypted" },
		{ "require", "password and rows are encrypted, but whoever is on the way can pretend to be the database" },
		{ "verify-ca", "any server with a certificate of that authority can pretend to be the database" },
	};
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	const char *mode = said(options, "sslmode");
	char name[256];
	bool weak = false;

	for (size_t i = 0; mode && i < sizeof rows / sizeof *rows; i++) {
		if (strcmp(mode, rows[i].mode) != 0 || !find_distant(options, name, sizeof name))
			continue;
		snprintf(out, PG_TLS_SENTENCE_SIZE, "postgres_url says sslmode=%s for %s: %s; take sslmode out (the default is "
			 "verify-full), and name an authority of your own by sslrootcert=FILE", mode, name, rows[i].gives_up);
		weak = true;
	}
	PQconninfoFree(options);
	return weak;
}

const char *pg_tls_hint(const char *message)
{
	static const struct { const char *words, *hint; } rows[] = {
		{ "certificate verify failed",
		  "the server's certificate has expired, or sslrootcert does not know who signed it: renew it, or name "
		  "the authority's file by sslrootcert=FILE in postgres_url" },
		{ "does not match host name",
		  "write the name that is in the certificate as the host of postgres_url (hostaddr= says where it is), or have "
		  "one made for this name" },
		{ "server does not support SSL",
		  "switch TLS on in the database server (ssl = on), or, where everybody on the way may read along, write "
		  "sslmode=disable into postgres_url" },
		{ "root certificate file", "install ca-certificates, or name the authority's file by sslrootcert=FILE in postgres_url" },
		{ "could not read root certificate", "name a readable file by sslrootcert=FILE in postgres_url" },
		{ "tlsv13 alert certificate required", "the server wants a client certificate: sslcert= and sslkey= in postgres_url" },
		{ "channel binding is required", "the server offers none: it needs TLS and password_encryption = scram-sha-256" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strstr(message, rows[i].words))
			return rows[i].hint;
	return NULL;
}
