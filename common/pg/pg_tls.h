/*
 * pg_tls.h - the default protection of a connection to the database.
 *
 * Owns the rule for every program: over a network, the server must show a certificate for its name that this
 * machine trusts (sslmode=verify-full), unless the URL, its service or the environment names another sslmode.
 * pg_tls_weakness() then says what the other one gives up. Leaves out the connection itself (pg_open.h, and
 * common/loop).
 */
#ifndef COMMON_PG_TLS_H
#define COMMON_PG_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "pg_options.h"

enum { PG_TLS_SENTENCE_SIZE = 512 };

struct pg_tls {
	const char *mode;               /* sslmode to add; NULL: keep the given one, or libpq's default */
	const char *root;               /* sslrootcert, likewise */
};

/* Is it a unix socket ("" is libpq's default one) or an address of this machine? A name needs its `address`:
 * also localhost leads wherever /etc/hosts says. */
bool pg_tls_is_local(const char *host, const char *address);

/* What to add to the options for one server. */
struct pg_tls pg_tls_for(const struct pg_options *options, bool local);

/* The same for all servers of a URL, for programs that look names up themselves (psql). They count as local
 * only if each of them is: a socket, an address, or localhost, which this looks up. */
struct pg_tls pg_tls_for_url(const char *url);

/* What the given sslmode gives up, as "what; how to fix it". False: nothing. Looks no name up: localhost is
 * taken for this machine. */
bool pg_tls_weakness(const char *url, char out[PG_TLS_SENTENCE_SIZE]);

/* How to fix the refusal that libpq reports as `message`; NULL: it is not about TLS. */
const char *pg_tls_hint(const char *message);

#endif
