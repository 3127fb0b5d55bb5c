/*
 * pg_open.h - open a connection, and block until it is open or has failed.
 *
 * Promises that the one rule (pg_tls.h) protects the connection by the address that it goes to, that a server
 * is asked once, and that an attempt ends after a time. Leaves out the queries, and the agent's own
 * connection, which never blocks (common/loop).
 */
#ifndef COMMON_PG_OPEN_H
#define COMMON_PG_OPEN_H

#include <libpq-fe.h>

#include "common/err.h"
#include "pg_target.h"

/* On failure returns NULL and sets `e` to libpq's sentence with "; how to fix it". e->code is EINVAL if
 * `url` is no connection string (the sentence does not quote it: it may hold a password), EACCES if a
 * server refuses the login or has no such database, ENOTCONN for any other failure. */
PGconn *pg_open(const char *url, const struct pg_manner *manner, struct err *e);

void pg_close_p(PGconn **c);
void pg_clear_p(PGresult **r);

#endif
