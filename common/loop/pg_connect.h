/*
 * pg_connect.h - connects to one of the servers of a connection string, without blocking.
 *
 * Owns looking up the names, trying each target once with its own deadline, and the connection
 * until it is handed over. Leaves out when to try again.
 */
#ifndef OBSERV_PG_CONNECT_H
#define OBSERV_PG_CONNECT_H

#include <libpq-fe.h>
#include <systemd/sd-event.h>

#include "common/err.h"
#include "common/pg/pg_target.h"
#include "common/pg/pg_verdict.h"

struct pg_connect;

/* What was tried in vain. */
struct pg_failure {
	enum pg_verdict verdict;
	bool slow;                      /* a deadline passed: another try takes long */
	char sqlstate[6];               /* "": the server gave none */
	struct err e;                   /* what each target said */
};

struct pg_connect_events {
	void (*up)(void *data, PGconn *conn);           /* yours to finish */
	void (*failed)(void *data, const struct pg_failure *f);
};

/* `e` has libpq's sentence if `url` is no connection string, and may quote it. */
int pg_connect_new(sd_event *loop, const char *url, const struct pg_manner *manner,
		   const struct pg_connect_events *events, void *data, struct pg_connect **ret,
		   struct err *e);
void pg_connect_free(struct pg_connect *c);

/* Try all targets once, the last good one first. Calls up() or failed(), perhaps before it returns. */
void pg_connect_start(struct pg_connect *c);

/* Watch the socket of a connection for `events` (0: none), and drop the old source. libpq may close
 * a socket and open another with the same number, so a source lives for one wait only. */
sd_event_source *pg_watch(sd_event *loop, sd_event_source *old, const PGconn *conn, uint32_t events,
			  sd_event_io_handler_t on_io, void *data);

#endif
