#include "pg.h"

#include <errno.h>
#include <libpq-fe.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "wire/push.h"
#include "common/loop/pg_connect.h"
#include "common/pg/pg_tls.h"
#include "common/pg/pg_message.h"
#include "common/pg/pg_verdict.h"
#include "pg_call_error.h"

enum {
	CLOCK_SET_S = 2,                /* the wall clock differs so much from the monotonic one */
	DEADLINE_S = 15,                /* for each step, without any progress */
	LOOK_S = 2,                     /* how often to look for progress */
	SCHEMA_VERSION_MIN = 1,
};

enum phase { PHASE_WAITING, PHASE_CONNECTING, PHASE_HELLO, PHASE_READY, PHASE_SENDING };

struct pg {
	sd_event *loop;
	const struct config *config;
	struct logcore *log;
	const struct pg_events *events;
	void *data;
	struct pg_connect *connect;
	PGconn *conn;
	sd_event_source *io;
	uint32_t watched;               /* what it waits for */
	sd_event_source *timer;         /* of the next attempt, or of the check for progress */
	int64_t progress_us;            /* monotonic: of the last progress */
	enum phase phase;
	int64_t process;                /* a random number that identifies this process */
	int64_t epoch;                  /* from the last hello; 0: none yet */
	struct push push;               /* whose answers are still to come */
	int64_t skew_us;
	int64_t clock_us;               /* wall clock minus monotonic at the last hello */
	int failures, refusals;         /* since the last commit */
	int unsent;                     /* bytes in the kernel's buffer at the last check */
	struct buf json;                /* the parameters of one call */
	struct pg_call_error error;     /* of the call whose answers are read */
	struct pg_hello hello;
	struct position *streams;
	size_t n_streams;
};

/* ---- phases and their deadline ---- */

static int on_timer(sd_event_source *s, uint64_t usec, void *data);
static int on_io(sd_event_source *s, int fd, uint32_t revents, void *data);

static void arm(struct pg *p, int64_t in_us)
{
	sd_event_source_set_time_relative(p->timer, (uint64_t)in_us);
	sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
}

static void enter(struct pg *p, enum phase phase)
{
	p->phase = phase;
	if (phase == PHASE_READY || phase == PHASE_CONNECTING)          /* pg_connect has its own deadlines */
		sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
	else
		arm(p, LOOK_S * US_PER_S);
	p->progress_us = mono_us();
}

static void drop_connection(struct pg *p)
{
	p->io = sd_event_source_disable_unref(p->io);
	PQfinish(p->conn);
	p->conn = NULL;
}

static void fail(struct pg *p, enum pg_verdict verdict, bool slow, const struct err *e)
{
	drop_connection(p);
	enter(p, PHASE_WAITING);
	arm(p, pg_backoff_us(verdict, slow, verdict == PG_DATA ? p->refusals : p->failures));
	if (verdict == PG_DATA)
		p->refusals++;
	else
		p->failures++;
	p->events->lost(p->data, verdict, p->error.sqlstate, e);
}

static void fail_connection(struct pg *p, bool slow, const char *what)
{
	struct err e;
	char msg[ERR_MSG_MAX / 2];

	pg_one_line(slow ? "" : PQerrorMessage(p->conn), msg, sizeof msg);
	if (slow)
		err_set(&e, ETIMEDOUT, "%s: no answer from the database within %d s", what, DEADLINE_S);
	else
		err_set(&e, ECONNABORTED, "%s: %s", what, msg[0] ? msg : "connection lost");
	fail(p, PG_RETRY, slow, &e);
}

/* ---- connecting ---- */

static void watch(struct pg *p, uint32_t events)
{
	if (p->io && p->watched == events)
		return;
	p->io = pg_watch(p->loop, p->io, p->conn, events, on_io, p);
	p->watched = events;
}

static void say_hello(struct pg *p);

static void on_up(void *data, PGconn *conn)
{
	struct pg *p = data;

	p->conn = conn;
	say_hello(p);
}

static void on_failed(void *data, const struct pg_failure *f)
{
	struct pg *p = data;

	memcpy(p->error.sqlstate, f->sqlstate, sizeof p->error.sqlstate);
	fail(p, f->verdict, f->slow, &f->e);
}

static void start_connecting(struct pg *p)
{
	enter(p, PHASE_CONNECTING);
	logcore_debug(p->log, "connecting to the database",
		      logcore_kv("failures", p->failures + p->refusals));
	pg_connect_start(p->connect);
}

/* ---- sending ---- */

/* Bytes in the kernel's send buffer that the peer has not acknowledged. */
static int unsent(const struct pg *p)
{
	int n = 0;

	return ioctl(PQsocket(p->conn), SIOCOUTQ, &n) == 0 ? n : 0;
}

static void flush(struct pg *p)
{
	int left = PQflush(p->conn);

	p->unsent = unsent(p);
	if (left < 0)
		fail_connection(p, false, "send");
	else
		watch(p, left ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void sent(struct pg *p, enum phase phase, bool queued)
{
	pg_call_error_begin(&p->error);
	if (!queued) {
		fail_connection(p, false, "send");
		return;
	}
	enter(p, phase);
	flush(p);
}

/* A new call. Who sends it is by the configuration of now: a reload may have changed it. */
static struct push *new_push(struct pg *p)
{
	p->push = (struct push){ .conn = p->conn,
				 .who = { p->config->vps_name, p->config->app, p->process,
					  p->config->interval_us, p->epoch },
				 .json = &p->json };
	return &p->push;
}

static void say_hello(struct pg *p)
{
	bool ok = PQsetnonblocking(p->conn, 1) == 0;

	free(p->streams);
	p->streams = NULL;
	sent(p, PHASE_HELLO, ok && push_hello(new_push(p)));
}

/* The second half of hello: ask for the streams with the new epoch. */
static void ask_streams(struct pg *p)
{
	sent(p, PHASE_HELLO, push_streams(new_push(p)));
}

void pg_send(struct pg *p, struct batch *b, struct text state)
{
	sent(p, PHASE_SENDING, push_batch(new_push(p), b, state));
}

/* ---- answers ---- */

/* Epoch 0 means OB001. It is no error, so that the database can commit a note of the conflict. */
static void take_hello(struct pg *p, const PGresult *r)
{
	struct hello h;

	if (!push_read_hello(r, &h)) {
		pg_call_error_odd_answer(&p->error, "hello");
		return;
	}
	if (h.epoch == 0) {
		pg_call_error_note(&p->error, "OB001", "another agent took over");
		return;
	}
	logcore_debug(p->log, "the database greets", logcore_kv("host", PQhost(p->conn)),
		      logcore_kv("port", PQport(p->conn)), logcore_kv("tls", PQsslInUse(p->conn) != 0),
		      logcore_kv("epoch", h.epoch));
	p->epoch = h.epoch;
	p->hello.last_seq = h.last_seq;
	p->skew_us = h.server_us - wall_us();
	p->clock_us = wall_us() - mono_us();
	if (h.schema_version < SCHEMA_VERSION_MIN)
		logcore_warning(p->log, "the schema is older than this agent; run schema.sql of this version",
				logcore_kv("schema_version", h.schema_version),
				logcore_kv("needed", SCHEMA_VERSION_MIN));
}

/* All answers of a call are read: either everything in it is committed or nothing. */
static void call_done(struct pg *p)
{
	if (p->error.e.code) {
		enum pg_verdict verdict = p->error.verdict;
		bool of_a_row = verdict == PG_DATA || verdict == PG_TOO_MUCH;
		struct err e = p->error.e;

		fail(p, of_a_row && p->phase == PHASE_HELLO ? PG_RETRY : verdict, false, &e);
	} else if (p->phase == PHASE_SENDING) {
		p->failures = p->refusals = 0;
		enter(p, PHASE_READY);
		p->events->committed(p->data);
	} else if (!p->streams) {
		ask_streams(p);
	} else {
		p->hello.streams = p->streams;
		p->hello.n_streams = p->n_streams;
		enter(p, PHASE_READY);
		p->events->ready(p->data, &p->hello);
		free(p->streams);
		p->streams = NULL;
	}
}

static void take_answer(struct pg *p, enum answer answer, const PGresult *r)
{
	switch (answer) {
	case ANSWER_HELLO:
		take_hello(p, r);
		return;
	case ANSWER_STREAMS:
		if (!push_read_streams(r, &p->streams, &p->n_streams))
			pg_call_error_odd_answer(&p->error, "streams");
		return;
	case ANSWER_NONE:
		return;
	}
}

/* Each statement has one result; after an error it is PGRES_PIPELINE_ABORTED. */
static void take_result(struct pg *p, const PGresult *r)
{
	enum answer answer;

	if (PQresultStatus(r) == PGRES_PIPELINE_SYNC)
		return;
	answer = push_next_answer(&p->push);
	if (PQresultStatus(r) == PGRES_TUPLES_OK)
		take_answer(p, answer, r);
	else if (PQresultStatus(r) == PGRES_FATAL_ERROR)
		pg_call_error_of_result(&p->error, r);
}

/* Read the answers that have arrived; true: those are all. */
static bool read_results(struct pg *p)
{
	while (!PQisBusy(p->conn)) {
		PGresult *r = PQgetResult(p->conn);
		bool sync;

		if (!r && p->push.is_query)
			return true;
		if (!r) {
			/* NULL ends the results of one statement; two in a row: nothing more has
			 * arrived. */
			if (PQisBusy(p->conn))
				return false;
			r = PQgetResult(p->conn);
			if (!r)
				return false;
		}
		sync = PQresultStatus(r) == PGRES_PIPELINE_SYNC;
		take_result(p, r);
		PQclear(r);
		if (sync)
			return true;
	}
	return false;
}

static void go_on_talking(struct pg *p, uint32_t revents)
{
	p->progress_us = mono_us();
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		if (!PQconsumeInput(p->conn)) {
			fail_connection(p, false, p->phase == PHASE_READY ? "idle" : "receive");
			return;
		}
	}
	if (p->phase == PHASE_READY) {
		if (PQstatus(p->conn) != CONNECTION_OK || (revents & (EPOLLHUP | EPOLLERR)))
			fail_connection(p, false, "idle");
		return;
	}
	if (read_results(p)) {
		call_done(p);
		return;
	}
	if (PQstatus(p->conn) != CONNECTION_OK)
		fail_connection(p, false, "receive");
	else
		flush(p);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *data)
{
	struct pg *p = data;

	(void)s;
	(void)fd;
	go_on_talking(p, revents);
	return 0;
}

/* The kernel takes a whole batch at once, and may need minutes to send it over a slow line. No event
 * occurs in that time: a shrinking send buffer is progress. */
static bool still_moving(struct pg *p)
{
	int before = p->unsent;

	p->unsent = unsent(p);
	if (p->unsent < before)
		p->progress_us = mono_us();
	return mono_us() - p->progress_us < DEADLINE_S * US_PER_S;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *data)
{
	static const char *const phases[] = { [PHASE_HELLO] = "hello", [PHASE_SENDING] = "commit" };
	struct pg *p = data;

	(void)s;
	(void)usec;
	if (p->phase == PHASE_WAITING)
		start_connecting(p);
	else if (still_moving(p))
		arm(p, LOOK_S * US_PER_S);
	else
		fail_connection(p, true, phases[p->phase]);
	return 0;
}

/* ---- life ---- */

int pg_new(const struct pg_setup *s, const struct pg_events *events, void *data, struct pg **ret,
	   struct err *e)
{
	static const struct pg_connect_events connect_events = { on_up, on_failed };
	static const struct pg_manner manner = { .application = "obs_agent", .writes = true };
	struct pg *p = calloc(1, sizeof *p);
	char weakness[PG_TLS_SENTENCE_SIZE];
	int r;

	if (!p)
		return err_set(e, ENOMEM, "out of memory for the database connection");
	*p = (struct pg){ .loop = s->loop, .config = s->config, .log = s->log, .events = events, .data = data,
			  .json = BUF(PUSH_JSON_BYTES_MAX), .process = pg_random_below(INT64_MAX) };
	r = sd_event_add_time_relative(s->loop, &p->timer, CLOCK_MONOTONIC, 0, 10 * US_PER_MS, on_timer, p);
	if (r < 0)
		r = err_set(e, -r, "cannot make a timer: %s", strerror(-r));
	else if ((r = pg_connect_new(s->loop, s->config->postgres_url, &manner, &connect_events, p,
				     &p->connect, e)) < 0)
		err_prefix(e, "postgres_url");
	if (pg_tls_weakness(s->config->postgres_url, weakness))
		logcore_warning(s->log, "the database connection is less protected than it could be",
				logcore_kv("why", weakness));
	if (r < 0) {
		pg_free(p);
		return r;
	}
	enter(p, PHASE_WAITING);
	arm(p, pg_random_below(s->spread_us));
	*ret = p;
	return 0;
}

void pg_free(struct pg *p)
{
	if (!p)
		return;
	drop_connection(p);
	pg_connect_free(p->connect);
	sd_event_source_disable_unref(p->timer);
	free(p->streams);
	buf_free(&p->json);
	free(p);
}

bool pg_can_send(const struct pg *p)
{
	return p->phase == PHASE_READY;
}

void pg_reconnect(struct pg *p)
{
	if (p->phase < PHASE_READY)
		return;                         /* a hello is still to come */
	drop_connection(p);
	enter(p, PHASE_WAITING);
	arm(p, pg_backoff_us(PG_RETRY, false, p->failures++));          /* repeated requests back off */
}

bool pg_clock_was_set(struct pg *p)
{
	if (llabs(wall_us() - mono_us() - p->clock_us) < CLOCK_SET_S * US_PER_S)
		return false;
	pg_reconnect(p);
	return true;
}

int64_t pg_skew_us(const struct pg *p)
{
	return p->skew_us;
}
