/*
 * pg_connect.h - a connection to one of the servers of a postgres_url, without blocking.
 *
 * Owns looking the names up, trying each target once with a deadline of its own, and
 * the connection until it is handed over. Leaves out when to try again (pg.h).
 */
#ifndef OBS_AGENT_PG_CONNECT_H
#define OBS_AGENT_PG_CONNECT_H

#include <libpq-fe.h>
#include <systemd/sd-event.h>

#include "common/err.h"
#include "common/pg/pg_verdict.h"

struct pg_connect;

/* What was tried in vain. */
struct pg_failure {
	enum pg_verdict verdict;
	bool slow;                      /* a deadline passed: to try costs time */
	char sqlstate[6];               /* "": the server did not say one */
	struct err e;                   /* what each target said */
};

struct pg_connect_events {
	void (*up)(void *data, PGconn *conn);           /* yours to finish */
	void (*failed)(void *data, const struct pg_failure *f);
};

int pg_connect_new(sd_event *loop, const char *url, const struct pg_connect_events *events, void *data,
		   struct pg_connect **ret, struct err *e);
void pg_connect_free(struct pg_connect *c);

/* Go once through all targets, the last good one first; up() or failed() follows, which
 * may be before this returns. */
void pg_connect_start(struct pg_connect *c);

/* What is going on, for libpq's sockets: it may close one and open the next under the
 * same number, so a source lives for one wait. Events 0: none. */
sd_event_source *pg_watch(sd_event *loop, sd_event_source *old, const PGconn *conn, uint32_t events,
			  sd_event_io_handler_t on_io, void *data);

#endif
