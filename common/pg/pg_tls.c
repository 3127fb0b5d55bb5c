#include "pg_tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/net/names.h"

#define LOCALHOST "localhost"
#define AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"        /* of Debian's package ca-certificates */

enum { SYSTEM_ROOT_SINCE = 160000 };    /* libpq's version that knows sslrootcert=system */

static bool is_loopback(const char *address)
{
	struct in6_addr six;
	struct in_addr four;

	if (inet_pton(AF_INET, address, &four) == 1)
		return ntohl(four.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static bool is_here(const char *host)
{
	return *host == '\0' || *host == '/' || *host == '@' || is_loopback(host);
}

bool pg_tls_is_local(const char *host, const char *address)
{
	return *address ? is_loopback(address) : is_here(host);
}

/* libpq looks there by itself, and refuses to verify where the file is not. */
static bool has_own_root(void)
{
	const char *set = getenv("HOME");
	const struct passwd *user = set && *set ? NULL : getpwuid(geteuid());
	const char *home = user ? user->pw_dir : set;
	char path[PATH_MAX];

	return home && *home &&
	       snprintf(path, sizeof path, "%s/.postgresql/root.crt", home) < (int)sizeof path &&
	       access(path, R_OK) == 0;
}

static const char *default_root(const char *mode)
{
	if (has_own_root())
		return NULL;
	if (PQlibVersion() >= SYSTEM_ROOT_SINCE && strcmp(mode, "verify-full") == 0)
		return "system";
	return AUTHORITIES;
}

struct pg_tls pg_tls_for(const struct pg_options *options, bool local)
{
	const char *mode = pg_option(options, "sslmode");
	struct pg_tls tls = { .mode = *mode || local ? NULL : "verify-full" };
	const char *effective = tls.mode ? tls.mode : mode;

	if (strncmp(effective, "verify-", 7) == 0 && !*pg_option(options, "sslrootcert"))
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

/* localhost leads wherever /etc/hosts says. */
static bool localhost_is_here(void)
{
	struct resolve_names names = { .name = { { .name = LOCALHOST } }, .n = 1 };
	const struct resolve_name *found = &names.name[0];
	bool here;

	resolve_now(&names);
	here = found->n > 0;
	for (size_t i = 0; i < found->n; i++)
		here = here && is_loopback(found->address[i]);
	return here;
}

/* The first server that is not this machine; false: there is none. Is `localhost` one? */
static bool find_distant(const struct pg_options *options, bool localhost, char *name, size_t size)
{
	const char *hosts = pg_option(options, "host"), *addresses = pg_option(options, "hostaddr");
	size_t n = parts(hosts) > parts(addresses) ? parts(hosts) : parts(addresses);

	for (size_t i = 0; i < n; i++) {
		char host[256], address[64];
		bool named_here;

		part_of(hosts, i, host, sizeof host);
		part_of(addresses, i, address, sizeof address);
		named_here = is_here(host) || strcmp(host, LOCALHOST) == 0;
		snprintf(name, size, "%s", *address && named_here ? address : *host ? host : address);
		if (!pg_tls_is_local(host, address) && !(localhost && named_here && !*address))
			return true;
	}
	return false;
}

/* What can't be read can't be connected to either; should it be by then, it is taken for distant. */
struct pg_tls pg_tls_for_url(const char *url)
{
	struct pg_options options = { NULL, NULL };
	char name[256];
	struct err e;
	bool local = pg_options_read(url, &options, &e) == 0 &&
		     !find_distant(&options, localhost_is_here(), name, sizeof name);
	struct pg_tls tls = pg_tls_for(&options, local);

	pg_options_free(&options);
	return tls;
}

static const char *given_up_by(const char *mode)
{
	static const struct { const char *mode, *gives_up; } rows[] = {
		{ "disable", "password and rows go unencrypted" },
		{ "allow", "password and rows may go unencrypted" },
		{ "prefer", "password and rows may go unencrypted" },
		{ "require", "password and rows are encrypted, but any machine on the way can pretend to be "
			     "the database" },
		{ "verify-ca", "any server with a certificate of that authority can pretend to be the "
			       "database" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcmp(mode, rows[i].mode) == 0)
			return rows[i].gives_up;
	return NULL;
}

bool pg_tls_weakness(const char *url, char out[PG_TLS_SENTENCE_SIZE])
{
	struct pg_options options = { NULL, NULL };
	struct err e;
	int r = pg_options_read(url, &options, &e);
	const char *mode = pg_option(&options, "sslmode"), *gives_up = given_up_by(mode);
	char name[256];
	bool weak = r == 0 && gives_up && find_distant(&options, true, name, sizeof name);

	if (weak)
		snprintf(out, PG_TLS_SENTENCE_SIZE,
			 "sslmode=%s for %s: %s; leave sslmode out (the default is verify-full), and name "
			 "your own authority with sslrootcert=FILE", mode, name, gives_up);
	pg_options_free(&options);
	return weak;
}

const char *pg_tls_hint(const char *message)
{
	static const struct { const char *words, *hint; } rows[] = {
		{ "certificate verify failed",
		  "the server's certificate has expired, or sslrootcert does not know who signed it: renew "
		  "it, or name the authority's file by sslrootcert=FILE in the URL" },
		{ "does not match host name",
		  "write the name that is in the certificate as the host in the URL (hostaddr= says where it "
		  "is), or have one made for this name" },
		{ "server does not support SSL",
		  "switch TLS on in the database server (ssl = on), or, where everybody on the way may read "
		  "along, write sslmode=disable into the URL" },
		{ "root certificate file",
		  "install ca-certificates, or name the authority's file by sslrootcert=FILE in the URL" },
		{ "could not read root certificate", "name a readable file by sslrootcert=FILE in the URL" },
		{ "tlsv13 alert certificate required",
		  "the server wants a client certificate: sslcert= and sslkey= in the URL" },
		{ "channel binding is required",
		  "the server offers none: it needs TLS and password_encryption = scram-sha-256" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strstr(message, rows[i].words))
			return rows[i].hint;
	return NULL;
}
