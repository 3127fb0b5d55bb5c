/*
 * evaluate.h - what a leader has the database do: learn patterns, evaluate rules, flush groups.
 *
 * Owns when each is due, a connection of its own, so that delivery does not wait for an evaluation, the
 * questions of rules to others (external.h), and the ping of a dead-man's switch.
 * Promises that one step begins when the one before is over, and that a failed one stops no later one.
 * Leaves out delivery.
 */
#ifndef FLEET_WATCH_EVALUATE_H
#define FLEET_WATCH_EVALUATE_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/err.h"
#include "logcore/logcore.h"
#include "watch_conf.h"
#include "watch_db.h"

struct curl_glue;
struct evaluate;

struct evaluate_setup {
	sd_event *loop;
	struct curl_glue *glue;
	const struct watch_conf *conf;
	const struct watch_db *other; /* a connection whose failures its owner tells */
	struct logcore *log;
	const char *watcher;
	void (*flushed)(void *data); /* messages may be in the outbox, or it has failed */
	void *data;
};

/* What systemctl status shows. */
struct evaluate_state {
	bool begun, over;     /* the first evaluation */
	bool left;            /* a part of the last one is still to be done */
	bool failed;          /* a step, at any time */
	const char *trouble;  /* of the last step; "": none */
	int64_t evaluated_us; /* wall clock: the last that succeeded; 0: none */
	int64_t took_ms;
};

int evaluate_new(const struct evaluate_setup *s, struct evaluate **ret, struct err *e);

/* Accepts NULL. */
void evaluate_free(struct evaluate *v);

/* The database answers again on the other connection. */
void evaluate_database_up(struct evaluate *v);

/* Begin what is due. */
void evaluate_due(struct evaluate *v);

/* Microseconds until something is due. */
int64_t evaluate_next_us(const struct evaluate *v);

bool evaluate_busy(const struct evaluate *v);
struct evaluate_state evaluate_state(const struct evaluate *v);

#endif
