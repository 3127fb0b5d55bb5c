/*
 * pg_once.h - a connection for a command that a person waits for: it may block for 10 s.
 *
 * Owns that it is protected like the agent's own (pg_tls.h). Leaves out what is asked over it.
 */
#ifndef COMMON_PG_ONCE_H
#define COMMON_PG_ONCE_H

#include <libpq-fe.h>

#include "common/err.h"

/* `password`: NULL where the URL, or libpq, knows it; `command` is what the database's list of sessions shows. NULL: it
 * failed, and `e` has libpq's sentence, with "; how to mend it". Whoever called closes it (pg_once_close_p). */
PGconn *pg_once_open(const char *url, const char *password, const char *command, struct err *e);

void pg_once_close_p(PGconn **c);
void pg_once_clear_p(PGresult **r);

#endif
