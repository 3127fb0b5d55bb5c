/*
 * pg_target.h - the servers that a postgres_url names, as a list of targets that are
 * tried one after the other: each address of each host is one.
 *
 * Owns the parsed URL and the addresses that its names had last. Promises that libpq
 * never has to look a name up. Leaves out deadlines (pg_connect.h).
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

/* The names that have to be looked up; there may be none (sockets, addresses). */
const struct resolve_names *pg_targets_names(const struct pg_targets *t);

/* What the lookup gave. A name that it found nothing for keeps the addresses it had. */
void pg_targets_found(struct pg_targets *t, const struct resolve_names *answer);

/* Begin a round: list the targets that are known, the one that was good last before all
 * others. Returns how many there are. */
size_t pg_targets_begin(struct pg_targets *t);

/* Start a connection to the next target of the round; false: there is none. *ret is
 * NULL when there is no memory. */
bool pg_targets_next(struct pg_targets *t, PGconn **ret);

/* The one tried last is good. */
void pg_targets_good(struct pg_targets *t);

#endif
