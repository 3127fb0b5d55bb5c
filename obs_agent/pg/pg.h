/*
 * pg.h - the one connection to PostgreSQL; what is said over it is in pg_call.h.
 *
 * Owns connecting, the hello that tells where the database stands, sending a
 * batch as one transaction, deadlines and back-off. Promises never to block the
 * loop, and never to guess: after any failure the connection is dropped, and the
 * next hello says what was committed.
 * Leaves out which batch is sent when (deliver.h).
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

/* What the database says when a connection is up. */
struct pg_hello {
	int64_t last_seq;               /* of the last batch that was committed */
	struct position *streams;       /* `to` is the committed position; the receiver may reorder them */
	size_t n_streams;
};

struct pg_events {
	void (*ready)(void *data, const struct pg_hello *hello);
	void (*committed)(void *data);
	/* `sqlstate`: the server's, "" when it did not answer. */
	void (*lost)(void *data, enum pg_verdict verdict, const char *sqlstate, const struct err *e);
};

/* Begin to connect, after a random part of `spread_us` (a fleet that restarts
 * together must not arrive together). `c` must outlive the connection. */
int pg_new(sd_event *loop, const struct config *c, struct logcore *log, int64_t spread_us,
	   const struct pg_events *events, void *data, struct pg **ret, struct err *e);
void pg_free(struct pg *p);

/* True between ready() and lost() when no batch is on its way. */
bool pg_can_send(const struct pg *p);

/* Send `b` (b->seq set) as one transaction; committed() or lost() follows. `state`
 * is the agent's own state as a JSON object, or absent. */
void pg_send(struct pg *p, struct batch *b, struct text state);

/* Say hello again on a new connection; ready() or lost() follows. The fate of a batch on
 * its way is what ready() says. */
void pg_reconnect(struct pg *p);

/* Was the wall clock set since hello? Then a new hello is under way, which tells the
 * database how far off it is now. */
bool pg_clock_was_set(struct pg *p);

/* Server clock minus ours at the last hello, microseconds. */
int64_t pg_skew_us(const struct pg *p);

#endif
