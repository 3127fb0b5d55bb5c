/*
 * pg.h - the agent's connection to PostgreSQL; its statements are in wire/push.h.
 *
 * Owns connecting, the hello that returns the database's positions, sending a batch as one
 * transaction, deadlines and back-off. Promises never to block the loop, and never to guess: after
 * any failure it drops the connection, and the next hello tells what was committed. Leaves out
 * which batch is sent when (deliver.h).
 */
#ifndef OBS_AGENT_PG_H
#define OBS_AGENT_PG_H

#include <systemd/sd-event.h>

#include "common/err.h"
#include "logcore/logcore.h"
#include "wire/batch.h"
#include "obs_agent/config/config.h"
#include "common/pg/pg_verdict.h"

struct pg;

/* The database's answer when a connection is up. */
struct pg_hello {
	int64_t last_seq;               /* of the last committed batch */
	struct position *streams;       /* `to` is the committed position; those of a source stand together */
	size_t n_streams;
};

struct pg_events {
	void (*ready)(void *data, const struct pg_hello *hello);
	void (*committed)(void *data);
	/* `sqlstate`: from the server; "": it did not answer. */
	void (*lost)(void *data, enum pg_verdict verdict, const char *sqlstate, const struct err *e);
};

struct pg_setup {
	sd_event *loop;
	const struct config *config;    /* must outlive the connection */
	struct logcore *log;
	int64_t spread_us;
};

/* Start to connect after a random part of `spread_us`, so that a fleet that restarts together does
 * not connect together. */
int pg_new(const struct pg_setup *s, const struct pg_events *events, void *data, struct pg **ret,
	   struct err *e);
void pg_free(struct pg *p);

/* Is the connection up, with no batch in flight? */
bool pg_can_send(const struct pg *p);

/* Send `b` (b->seq set) as one transaction; committed() or lost() follows. `state`
 * is the agent's own state as a JSON object, or absent. */
void pg_send(struct pg *p, struct batch *b, struct text state);

/* Connect again; ready() or lost() follows. ready() tells whether a batch in flight was committed. */
void pg_reconnect(struct pg *p);

/* Was the wall clock set since the last hello? If so, starts a new hello, which tells the database
 * the new difference. */
bool pg_clock_was_set(struct pg *p);

/* Server clock minus ours at the last hello, microseconds. */
int64_t pg_skew_us(const struct pg *p);

#endif
