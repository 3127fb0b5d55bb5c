/*
 * deliver.h - takes messages from the outbox, has them sent, and tells the database what became of each.
 *
 * Owns the messages from when they were taken until the database has the outcome. One exchange with it is
 * under way at a time: it tells all that came back meanwhile, and asks for as many as there is room for.
 * Promises that an outcome is told again after the connection was lost, so that what a peer has accepted is
 * not sent twice, and that no secret of a channel is in an error. Leaves out how one message is sent
 * (send.h).
 */
#ifndef FLEET_WATCH_DELIVER_H
#define FLEET_WATCH_DELIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop/curl_glue.h"
#include "logcore/logcore.h"
#include "watch_conf.h"
#include "watch_db.h"

struct deliver;

struct deliver_outcome {
	const char *channel; /* its name */
	bool accepted;
	const char *error; /* "": none; also if some recipients were refused */
};

struct deliver_setup {
	struct curl_glue *glue;
	const struct watch_conf *conf;
	struct watch_db *db;
	struct logcore *log;
	const char *watcher; /* the name under which messages are taken */
	bool (*may_take)(void *data);
	/* Messages were taken, as many (below 0: the database gave no answer, `e` says why). */
	void (*taken)(void *data, int n, const struct err *e);
	/* The database knows the outcome of a message. */
	void (*ended)(void *data, const struct deliver_outcome *o);
	void *data;
};

/* NULL: out of memory. */
struct deliver *deliver_new(const struct deliver_setup *s);

/* Without an outcome for what is under way: its leases run out. Accepts NULL. */
void deliver_free(struct deliver *d);

/* Tell what came back, and take what is due, as far as there is room. While that is under way: once more
 * behind it. */
void deliver_exchange(struct deliver *d);

/* Take a new test of a channel, by its name or id. */
void deliver_test(struct deliver *d, const char *channel);

/* Messages under way. */
size_t deliver_count(const struct deliver *d);

/* Is an exchange under way? */
bool deliver_exchanges(const struct deliver *d);

/* The database can be asked again. */
void deliver_database_up(struct deliver *d);

#endif
