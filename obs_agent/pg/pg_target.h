/*
 * pg_target.h - the servers of a postgres_url as a list of targets: each address of each host is
 * one.
 *
 * Owns the parsed URL and the last known addresses of its names. Promises that libpq never has to
 * look up a name. Leaves out deadlines (pg_connect.h).
 */
#ifndef OBS_AGENT_PG_TARGET_H
#define OBS_AGENT_PG_TARGET_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "common/err.h"
#include "obs_agent/net/resolve.h"

struct pg_targets;

int pg_targets_new(const char *url, struct pg_targets **ret, struct err *e);
void pg_targets_free(struct pg_targets *t);

/* The names to look up; there are none for sockets and addresses. */
const struct resolve_names *pg_targets_names(const struct pg_targets *t);

/* Take the result of the lookup. A name without a result keeps its old addresses. */
void pg_targets_found(struct pg_targets *t, const struct resolve_names *answer);

/* Start a round: list the known targets, the last good one first. Returns their number. */
size_t pg_targets_begin(struct pg_targets *t);

/* Start a connection to the next target of the round; false: there is none. *ret is NULL when out of
 * memory. */
bool pg_targets_next(struct pg_targets *t, PGconn **ret);

/* The current target works: try it first in the next round. */
void pg_targets_good(struct pg_targets *t);

#endif
