/*
 * send.h - sends one message to its peer, part by part, as long as its lease holds.
 *
 * Owns the message, its request under way, and what became of its parts. Promises that no part goes out for
 * which the lease is too short: the database then says first whether the message is still this watcher's, so
 * that one which was stopped or cut off sends nothing that another has taken over. Leaves out the message's
 * outcome in the database (deliver.h).
 */
#ifndef FLEET_WATCH_SEND_H
#define FLEET_WATCH_SEND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/channels/channel.h"
#include "common/loop/curl_glue.h"
#include "watch_conf.h"
#include "watch_db.h"

struct json_object;
struct send;

struct send_setup {
	struct curl_glue *glue;
	const struct watch_conf *conf;
	struct watch_db *db;
	const char *watcher; /* the name under which messages are taken */
	/* Nothing is sent from now on. `mine`: send_verdict() is the outcome. Else another watcher has the
	 * message, or `why` the database does not say. */
	void (*over)(void *data, bool mine, const char *why);
};

/* How long a message is taken for. */
int64_t send_lease_s(const struct watch_conf *conf);

/* Takes a row of take_notifications(), also on failure. lease_until_us is of the monotonic clock. */
struct send *send_new(const struct send_setup *s, struct json_object *row, int64_t lease_until_us, void *data,
		      struct err *e);

/* Ends what is under way; over() is not called after this. Accepts NULL. */
void send_free(struct send *x);

/* Begin. over() may be called from here. */
void send_begin(struct send *x);

/* The database can be asked again. */
void send_database_up(struct send *x);

const struct message *send_message(const struct send *x);
const struct verdict *send_verdict(const struct send *x);

/* What was accepted and refused so far, as JSON. It lives until the next part. */
const char *send_progress(const struct send *x);

#endif
