/*
 * external.h - asks what rules want to know from outside of the engine: Prometheus, and the SELECT of an
 * administrator, which may take its time.
 *
 * Owns a second connection to the database, read-only and with a short time limit, for those SELECTs, and its
 * own slots for requests, so that a Prometheus that hangs holds up no message. Promises that an evaluation
 * waits for answers a second at most; a later one counts for the next.
 */
#ifndef FLEET_WATCH_EXTERNAL_H
#define FLEET_WATCH_EXTERNAL_H

#include <systemd/sd-event.h>

#include "logcore/logcore.h"
#include "watch_conf.h"
#include "watch_db.h"

struct external;

struct external_setup {
	sd_event *loop;
	const struct watch_conf *conf;
	struct watch_db *db;            /* where questions come from, and answers go to */
	struct logcore *log;
	void (*ready)(void *data);      /* the evaluation may begin */
	void *data;
};

int external_new(const struct external_setup *s, struct external **ret, struct err *e);

/* ready() is not called after this. Accepts NULL. */
void external_free(struct external *x);

/* Ask all that is due; ready() follows, perhaps before this returns. */
void external_ask(struct external *x);

#endif
