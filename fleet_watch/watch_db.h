/*
 * watch_db.h - the watcher's connection to the database: questions in their order, on the loop.
 *
 * Owns connecting, with back-off, and the queue of questions. Promises never to block, that each question
 * gets one answer, and that a connection which stays silent is given up. After a loss nothing is asked again:
 * the answer says so, and up() tells when the next connection is there. Leaves out what is asked.
 */
#ifndef FLEET_WATCH_DB_H
#define FLEET_WATCH_DB_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "common/err.h"
#include "logcore/logcore.h"

enum { WATCH_DB_PARAMS_MAX = 8 };

struct watch_db;

/* `r` has rows, or is NULL: then `e` says why, and `lost` that the connection broke, so that nobody knows
 * whether the statement was committed. */
typedef void watch_db_answer(void *data, const PGresult *r, bool lost, const struct err *e);

struct watch_db_events {
	void (*up)(void *data);
	void (*down)(void *data, const struct err *e); /* also for each attempt to connect that failed */
};

int watch_db_new(sd_event *loop, const char *url, struct logcore *log, const struct watch_db_events *events,
		 void *data, struct watch_db **ret, struct err *e);

/* No answer is given after this. */
void watch_db_free(struct watch_db *db);

bool watch_db_is_up(const struct watch_db *db);

/* Another connection is there: do not wait for the next attempt. */
void watch_db_hurry(struct watch_db *db);

/* Ask with text parameters (NULL: SQL's NULL), which are copied. `sql` must stay valid. While there is no
 * connection, or without memory, the answer comes at once: lost. */
void watch_db_ask(struct watch_db *db, const char *sql, int n, const char *const *params,
		  watch_db_answer *answer, void *data);

/* Ask for the session as it was when up() came: out of its transaction, which is undone, and without its
 * settings and locks. `answer` comes for each of the statements. */
void watch_db_renew(struct watch_db *db, watch_db_answer *answer, void *data);

#endif
