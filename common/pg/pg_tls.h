/*
 * pg_tls.h - how a connection to the database is protected where nobody says.
 *
 * Owns the rule for every program: a server that is reached over a network shows a certificate for its name
 * that this machine trusts (sslmode=verify-full), unless the URL, its service or the environment names
 * another sslmode; then pg_tls_weakness() says what that gives up. Leaves out the connection itself
 * (pg_open.h, and obs_agent/pg).
 */
#ifndef COMMON_PG_TLS_H
#define COMMON_PG_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "pg_options.h"

enum { PG_TLS_SENTENCE_SIZE = 512 };

struct pg_tls {
	/* sslmode; NULL: what was said, or libpq's choice for what stays on this machine */
	const char *mode;
	const char *root;               /* sslrootcert; NULL: what was said, or libpq's default */
};

/* Is it a unix socket ("" is libpq's default one) or this machine? `address` may be "": not known. */
bool pg_tls_is_local(const char *host, const char *address);

/* What to add for one server to what the options say. */
struct pg_tls pg_tls_for(const struct pg_options *options, bool local);

/* The same for all servers of a URL: local only where all are. */
struct pg_tls pg_tls_for_url(const char *url);

/* What the sslmode that was said gives up, as "what; how to fix it"; false: nothing. */
bool pg_tls_weakness(const char *url, char out[PG_TLS_SENTENCE_SIZE]);

/* What a person should do about a refusal that libpq words as `message`; NULL: it is not about TLS. */
const char *pg_tls_hint(const char *message);

#endif
