#include "watch_db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/embed.h"
#include "common/loop/pg_connect.h"
#include "common/pg/pg_message.h"
#include "common/pg/pg_verdict.h"

EMBED(sql_session, "fleet_watch/sql/session.sql");

enum {
	DEADLINE_S = 90, /* of one statement: the session's own limit is lower */
	ACCURACY_MS = 10,
};

struct question {
	struct question *next;
	const char *sql;
	int n;
	char *params[WATCH_DB_PARAMS_MAX];
	watch_db_answer *answer;
	void *data;
};

struct watch_db {
	sd_event *loop;
	struct logcore *log;
	const struct watch_db_events *events;
	void *data;
	struct pg_connect *connect;
	PGconn *conn;
	sd_event_source *io, *timer; /* the timer: of the next attempt, or of the current statement */
	uint32_t watched;
	struct question *first, **last;
	bool asked; /* the first question is under way */
	bool up;
	bool waits; /* the timer is of the next attempt */
	PGresult *result; /* of the first question, as far as it has come */
	int failures;
};

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *data);

static void arm(struct watch_db *db, int64_t in_us)
{
	sd_event_source_set_time_relative(db->timer, (uint64_t)in_us);
	sd_event_source_set_enabled(db->timer, SD_EVENT_ONESHOT);
}

static void watch(struct watch_db *db, uint32_t events)
{
	if (db->io && db->watched == events)
		return;
	db->io = pg_watch(db->loop, db->io, db->conn, events, on_io, db);
	db->watched = events;
}

/* ---- questions ---------------------------------------------------------------------------- */

static void question_free(struct question *q)
{
	for (int i = 0; i < q->n; i++)
		free(q->params[i]);
	free(q);
}

static struct question *dequeue(struct watch_db *db)
{
	struct question *q = db->first;

	db->first = q->next;
	if (!db->first)
		db->last = &db->first;
	db->asked = false;
	return q;
}

static void give(struct question *q, const PGresult *r, bool lost, const struct err *e)
{
	q->answer(q->data, r, lost, e);
	question_free(q);
}

/* The connection is gone, and with it all questions. Their owners may ask again at once, and get the same
 * answer: the connection counts as down before. */
static void lose(struct watch_db *db, bool slow, const struct err *e)
{
	struct question *q = db->first;

	db->first = NULL;
	db->last = &db->first;
	db->asked = db->up = false;
	PQclear(db->result);
	db->result = NULL;
	db->io = sd_event_source_disable_unref(db->io);
	PQfinish(db->conn);
	db->conn = NULL;
	arm(db, pg_backoff_us(PG_RETRY, slow, db->failures++));
	db->waits = true;
	while (q) {
		struct question *next = q->next;

		give(q, NULL, true, e);
		q = next;
	}
	db->events->down(db->data, e);
}

static void lose_connection(struct watch_db *db, bool slow)
{
	struct err e;
	char msg[ERR_MSG_MAX / 2];

	pg_one_line(slow ? "" : PQerrorMessage(db->conn), msg, sizeof msg);
	if (slow)
		err_set(&e, ETIMEDOUT, "no answer from the database within %d s", DEADLINE_S);
	else
		err_set(&e, ECONNABORTED, "%s", msg[0] ? msg : "the database closed the connection");
	lose(db, slow, &e);
}

static void flush(struct watch_db *db)
{
	int left = PQflush(db->conn);

	if (left < 0)
		lose_connection(db, false);
	else
		watch(db, left ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void ask_first(struct watch_db *db)
{
	struct question *q = db->first;

	if (!q || db->asked || !db->conn)
		return;
	db->asked = true;
	arm(db, DEADLINE_S * US_PER_S);
	if (!PQsendQueryParams(db->conn, q->sql, q->n, NULL, (const char *const *)q->params, NULL, NULL, 0))
		lose_connection(db, false);
	else
		flush(db);
}

static struct question *question_new(const char *sql, int n, const char *const *params)
{
	struct question *q = calloc(1, sizeof *q);

	if (!q)
		return NULL;
	q->sql = sql;
	q->n = n;
	for (int i = 0; i < n; i++) {
		q->params[i] = params[i] ? strdup(params[i]) : NULL;
		if (params[i] && !q->params[i]) {
			question_free(q);
			return NULL;
		}
	}
	return q;
}

void watch_db_ask(struct watch_db *db, const char *sql, int n, const char *const *params,
		  watch_db_answer *answer, void *data)
{
	struct question *q = db->conn ? question_new(sql, n, params) : NULL;
	struct err e;

	if (!q) {
		err_set(&e, ENOTCONN, db->conn ? "out of memory" : "there is no connection to the database");
		answer(data, NULL, true, &e);
		return;
	}
	q->answer = answer;
	q->data = data;
	*db->last = q;
	db->last = &q->next;
	ask_first(db);
}

void watch_db_renew(struct watch_db *db, watch_db_answer *answer, void *data)
{
	static const char *const statements[] = { "ROLLBACK", "DISCARD ALL", sql_session };

	for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
		watch_db_ask(db, statements[i], 0, NULL, answer, data);
}

/* ---- answers ------------------------------------------------------------------------------ */

static void refusal(const PGresult *r, struct err *e)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint = PQresultErrorField(r, PG_DIAG_MESSAGE_HINT);
	const struct pg_judgement j = pg_judge(state);
	char msg[ERR_MSG_MAX / 2];

	pg_one_line(primary ? primary : PQresultErrorMessage(r), msg, sizeof msg);
	hint = j.cause == PG_CAUSE_RIGHT    ? "GRANT observ_watch TO the login of database_url"
	       : j.cause == PG_CAUSE_SCHEMA ? j.hint
	       : hint			    ? hint
					    : j.hint;
	err_set(e, EPROTO, "%s (SQLSTATE %s)%s%s", msg, state ? state : "unknown", hint ? "; " : "",
		hint ? hint : "");
}

static void answered(struct watch_db *db)
{
	struct question *q = dequeue(db);
	PGresult *r = db->result;
	bool rows = PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK;
	struct err e = { 0 };

	db->result = NULL;
	sd_event_source_set_enabled(db->timer, SD_EVENT_OFF);
	if (!rows)
		refusal(r, &e);
	give(q, rows ? r : NULL, false, &e);
	PQclear(r);
	ask_first(db);
}

static void read_answers(struct watch_db *db)
{
	while (db->conn && db->asked && !PQisBusy(db->conn)) {
		PGresult *r = PQgetResult(db->conn);

		if (!r) {
			answered(db);
		} else if (!db->result) {
			db->result = r;
		} else {
			PQclear(r);
		}
	}
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *data)
{
	struct watch_db *db = data;
	PGnotify *note;

	(void)s;
	(void)fd;
	(void)revents;
	if (!PQconsumeInput(db->conn)) {
		lose_connection(db, false);
		return 0;
	}
	while ((note = PQnotifies(db->conn)))
		PQfreemem(note);
	read_answers(db);
	if (!db->conn)
		return 0;
	if (PQstatus(db->conn) != CONNECTION_OK)
		lose_connection(db, false);
	else
		flush(db);
	return 0;
}

/* ---- connecting --------------------------------------------------------------------------- */

static void on_session(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct watch_db *db = data;

	if (lost)
		return;
	if (!r) {
		lose(db, false, e);
		return;
	}
	db->failures = 0;
	db->up = true;
	db->events->up(db->data);
}

static void on_up(void *data, PGconn *conn)
{
	struct watch_db *db = data;

	db->conn = conn;
	PQsetnonblocking(conn, 1);
	PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
	watch_db_ask(db, sql_session, 0, NULL, on_session, db);
}

static void on_failed(void *data, const struct pg_failure *f)
{
	struct watch_db *db = data;

	arm(db, pg_backoff_us(f->verdict, f->slow, db->failures++));
	db->waits = true;
	db->events->down(db->data, &f->e);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *data)
{
	struct watch_db *db = data;

	(void)s;
	(void)usec;
	db->waits = false;
	if (db->conn)
		lose_connection(db, true);
	else
		pg_connect_start(db->connect);
	return 0;
}

int watch_db_new(sd_event *loop, const char *url, struct logcore *log, const struct watch_db_events *events,
		 void *data, struct watch_db **ret, struct err *e)
{
	static const struct pg_connect_events connect_events = { on_up, on_failed };
	static const struct pg_manner manner = { .application = "fleet_watch", .writes = true };
	struct watch_db *db = calloc(1, sizeof *db);
	int r;

	if (!db)
		return err_set(e, ENOMEM, "out of memory for the database connection");
	*db = (struct watch_db){
		.loop = loop, .log = log, .events = events, .data = data, .last = &db->first
	};
	r = sd_event_add_time_relative(loop, &db->timer, CLOCK_MONOTONIC, 0, ACCURACY_MS * US_PER_MS,
				       on_timer, db);
	if (r < 0)
		err_set(e, -r, "cannot make a timer: %s", strerror(-r));
	else if ((r = pg_connect_new(loop, url, &manner, &connect_events, db, &db->connect, e)) < 0)
		err_prefix(e, "database_url");
	if (r < 0) {
		watch_db_free(db);
		return r;
	}
	*ret = db;
	return 0;
}

void watch_db_free(struct watch_db *db)
{
	if (!db)
		return;
	while (db->first)
		question_free(dequeue(db));
	PQclear(db->result);
	sd_event_source_disable_unref(db->io);
	PQfinish(db->conn);
	sd_event_source_disable_unref(db->timer);
	pg_connect_free(db->connect);
	free(db);
}

void watch_db_hurry(struct watch_db *db)
{
	if (db->waits)
		arm(db, 0);
}

bool watch_db_is_up(const struct watch_db *db)
{
	return db->up;
}
