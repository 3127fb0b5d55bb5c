/*
 * pg_target.h - the servers of a connection string as a list of targets: each address of each host is
 * one.
 *
 * Owns the parsed string, the last known addresses of its names, and the options of a connection. Promises
 * that libpq never has to look up a name, so that the rule of pg_tls.h judges the address that is connected
 * to. Leaves out the lookup and deadlines (pg_open.h, common/loop).
 */
#ifndef COMMON_PG_TARGET_H
#define COMMON_PG_TARGET_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "common/err.h"
#include "common/net/names.h"
#include "pg_options.h"

/* How a program connects. The texts must outlive the targets. */
struct pg_manner {
	const char *application;        /* as the database's list of sessions shows it */
	const char *password;           /* NULL: the one that the string or libpq's defaults give */
	int timeout_s;                  /* of pg_open(), for each target, if the string sets none */
	bool writes;                    /* of several servers, choose one that accepts writes */
};

struct pg_targets;

/* Returns -EINVAL if `url` is no connection string; `e` then has libpq's sentence, which may quote it. */
int pg_targets_new(const char *url, const struct pg_manner *m, struct pg_targets **ret, struct err *e);
void pg_targets_free(struct pg_targets *t);

/* The names to look up; there are none for sockets and addresses. */
const struct resolve_names *pg_targets_names(const struct pg_targets *t);

/* An option of the string, its service or the environment; "": none sets it. */
const char *pg_targets_option(const struct pg_targets *t, const char *keyword);

/* Take the result of the lookup. A name without a result keeps its old addresses. */
void pg_targets_found(struct pg_targets *t, const struct resolve_names *answer);

/* Start a round: list the known targets, the last good one first. Returns their number. */
size_t pg_targets_begin(struct pg_targets *t);

/* Start a connection to the next target of the round; false: there is none. *ret is NULL when out of
 * memory. */
bool pg_targets_next(struct pg_targets *t, PGconn **ret);

/* The current target has refused the login: its other addresses are left out of this round. */
void pg_targets_refused(struct pg_targets *t);

/* The current target works: try it first in the next round. */
void pg_targets_good(struct pg_targets *t);

#endif
