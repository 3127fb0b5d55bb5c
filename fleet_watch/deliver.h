/*
 * deliver.h - sends the messages that a watcher has taken, and tells the database what became of each.
 *
 * Owns the messages from take_notifications() until the database has the outcome. Promises that an outcome is
 * told again after the connection was lost, so that what a peer has accepted is not sent twice, and that no
 * secret of a channel is in an error. Leaves out when messages are taken (watch.c).
 */
#ifndef FLEET_WATCH_DELIVER_H
#define FLEET_WATCH_DELIVER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/loop/curl_glue.h"
#include "logcore/logcore.h"
#include "watch_conf.h"
#include "watch_db.h"

struct json_object;
struct deliver;

struct deliver_outcome {
	const char *channel, *kind; /* the channel's name, the message's kind */
	bool accepted;
	const char *error; /* "": none; also if some recipients were refused */
};

struct deliver_setup {
	struct curl_glue *glue;
	const struct watch_conf *conf;
	struct watch_db *db;
	struct logcore *log;
	const char *watcher; /* the name under which messages are taken */
	/* The database knows the outcome of a message, and there is room for another. */
	void (*ended)(void *data, const struct deliver_outcome *o);
	void *data;
};

struct deliver *deliver_new(const struct deliver_setup *s);

/* Without an outcome for what is under way: its leases run out. */
void deliver_free(struct deliver *d);

/* Begin with a row of take_notifications(), which it owns from now on. */
void deliver_begin(struct deliver *d, struct json_object *row);

/* Messages under way. */
size_t deliver_count(const struct deliver *d);

/* The database can be asked again. */
void deliver_database_up(struct deliver *d);

/* How long a message is taken for. */
int64_t deliver_lease_s(const struct watch_conf *conf);

#endif
