/*
 * pg_open.h - a connection for a program that may block while it is made.
 *
 * Owns that it is protected by the one rule (pg_tls.h), and that it ends after a time. Leaves out what is
 * asked over it, and the agent's own connection, which never blocks (obs_agent/pg).
 */
#ifndef COMMON_PG_OPEN_H
#define COMMON_PG_OPEN_H

#include <libpq-fe.h>

#include "common/err.h"

struct pg_manner {
	const char *application;        /* as the database's list of sessions shows it */
	const char *password;           /* NULL: the URL, or libpq, knows it */
	const char *timeout_s;          /* for each server that the URL names */
	bool writes;                    /* of several servers, take one that does */
};

/* NULL: it failed. e->code: EINVAL, it is no connection string (the sentence does not quote it, for it may
 * hold a password); EACCES, the server refuses the sign-in; ENOTCONN, any other failure. `e` has libpq's
 * sentence with "; how to fix it". */
PGconn *pg_open(const char *url, const struct pg_manner *manner, struct err *e);

void pg_close_p(PGconn **c);
void pg_clear_p(PGresult **r);

#endif
