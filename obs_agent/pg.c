#include "pg.h"

#include <errno.h>
#include <libpq-fe.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "../common/cleanup.h"
#include "../common/clock.h"
#include "pg_call.h"
#include "pg_verdict.h"

enum {
	DEADLINE_S = 15,                /* without any progress, for each step */
	SCHEMA_VERSION_MIN = 1,
	JSON_PARAMS_MAX = 16 << 20,     /* all rows of a batch that are not log lines */
};

enum phase { PHASE_WAITING, PHASE_CONNECTING, PHASE_HELLO, PHASE_READY, PHASE_SENDING };

struct pg {
	sd_event *loop;
	const struct config *config;
	struct logcore *log;
	const struct pg_events *events;
	void *data;
	PGconn *conn;
	sd_event_source *io;
	sd_event_source *timer;         /* deadline of the phase, or the next attempt */
	enum phase phase;
	int64_t epoch;                  /* 0: this process has not said hello yet */
	int64_t skew_us;
	int failures;                   /* since the last commit */
	int unsent;                     /* bytes that the kernel held when it was last looked at */
	struct buf json;                /* parameters made for one call */
	struct err first_error;         /* of the pipeline that is being read */
	enum pg_verdict verdict;
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
	if (phase == PHASE_READY)
		sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
	else
		arm(p, DEADLINE_S * US_PER_S);
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
	arm(p, pg_backoff_us(verdict, slow, p->failures));
	p->failures++;
	p->events->lost(p->data, verdict, e);
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

/* A server that refuses says why, but libpq hands on its words only. */
static void fail_connecting(struct pg *p)
{
	struct err e;
	char msg[ERR_MSG_MAX / 2], state[6];
	const char *hint;
	enum pg_verdict verdict = pg_judge(pg_state_in(PQerrorMessage(p->conn), state), &hint);

	pg_one_line(PQerrorMessage(p->conn), msg, sizeof msg);
	err_set(&e, ECONNABORTED, "connect: %s%s%s", msg, hint ? "; " : "", hint ? hint : "");
	fail(p, verdict, false, &e);
}

/* ---- connecting ---- */

/* Which socket is waited for, and for what. libpq may change the socket while it
 * tries one address after the other. */
static void watch(struct pg *p, uint32_t events)
{
	int fd = PQsocket(p->conn);

	if (p->io && sd_event_source_get_io_fd(p->io) == fd) {
		sd_event_source_set_io_events(p->io, events);
		return;
	}
	p->io = sd_event_source_disable_unref(p->io);
	if (fd >= 0 && sd_event_add_io(p->loop, &p->io, fd, events, on_io, p) >= 0)
		sd_event_source_set_description(p->io, "postgresql");
}

static void ignore_notice(void *data, const char *message)
{
	(void)data;
	(void)message;
}

static void start_connecting(struct pg *p)
{
	/* What stands before "dbname" gives way to what the URL says. */
	const char *const keys[] = { "fallback_application_name", "client_encoding", "keepalives_idle",
				     "keepalives_interval", "tcp_user_timeout", "gssencmode", "dbname", NULL };
	const char *const values[] = { "obs_agent", "UTF8", "90", "10", "15000", "disable",
				       p->config->postgres_url, NULL };

	p->conn = PQconnectStartParams(keys, values, 1);
	enter(p, PHASE_CONNECTING);
	if (!p->conn || PQstatus(p->conn) == CONNECTION_BAD) {
		fail_connecting(p);
		return;
	}
	PQsetNoticeProcessor(p->conn, ignore_notice, NULL);
	PQsetErrorVerbosity(p->conn, PQERRORS_VERBOSE);         /* for the SQLSTATE of a refusal */
	watch(p, EPOLLOUT);
}

static void say_hello(struct pg *p);

static void go_on_connecting(struct pg *p)
{
	PostgresPollingStatusType status = PQconnectPoll(p->conn);

	/* libpq may close its socket and open the next one under the same number. */
	p->io = sd_event_source_disable_unref(p->io);
	if (status == PGRES_POLLING_FAILED)
		fail_connecting(p);
	else if (status == PGRES_POLLING_OK)
		say_hello(p);
	else
		watch(p, status == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT);
}

/* ---- sending ---- */

/* Bytes that the other side has not taken from our kernel yet. */
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

static void send_pipeline(struct pg *p, enum phase phase, bool queued)
{
	p->first_error.code = 0;
	p->verdict = PG_RETRY;
	if (!queued || !PQpipelineSync(p->conn)) {
		fail_connection(p, false, "send");
		return;
	}
	enter(p, phase);
	flush(p);
}

static void say_hello(struct pg *p)
{
	bool ok = PQsetnonblocking(p->conn, 1) == 0 && PQenterPipelineMode(p->conn);

	free(p->streams);
	p->streams = NULL;
	send_pipeline(p, PHASE_HELLO, ok && pg_call_hello(p->conn, p->config, p->epoch));
}

/* The second half of hello: the streams are asked for under the epoch just got. */
static void ask_streams(struct pg *p)
{
	send_pipeline(p, PHASE_HELLO, pg_call_streams(p->conn, p->config, p->epoch));
}

void pg_send(struct pg *p, struct batch *b, struct text state)
{
	send_pipeline(p, PHASE_SENDING, pg_call_push(p->conn, p->config, p->epoch, b, state, &p->json));
}

/* ---- answers ---- */

static void take_hello(struct pg *p, const PGresult *r)
{
	p->epoch = pg_number(r, 0, 0);
	p->hello.last_seq = pg_number(r, 0, 1);
	p->skew_us = pg_number(r, 0, 2) - wall_us();
	if (pg_number(r, 0, 3) < SCHEMA_VERSION_MIN)
		logcore_warning(p->log, "the schema is older than this agent; run schema.sql of this version",
				logcore_kv("schema_version", pg_number(r, 0, 3)),
				logcore_kv("needed", SCHEMA_VERSION_MIN));
}

/* The first error of a pipeline is the cause; what follows are its echoes. */
static void note_error(struct pg *p, const PGresult *r)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint;
	char msg[ERR_MSG_MAX / 2];

	if (p->first_error.code)
		return;
	pg_one_line(primary ? primary : PQresultErrorMessage(r), msg, sizeof msg);
	p->verdict = pg_judge(state, &hint);
	err_set(&p->first_error, EPROTO, "%s (SQLSTATE %s)%s%s", msg, state ? state : "unknown",
		hint ? "; " : "", hint ? hint : "");
}

/* A whole pipeline is answered: nothing of it stands unless all of it does. */
static void pipeline_done(struct pg *p)
{
	if (p->first_error.code) {
		struct err e = p->first_error;

		fail(p, p->verdict, false, &e);
	} else if (p->phase == PHASE_SENDING) {
		p->failures = 0;
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

static void take_result(struct pg *p, const PGresult *r)
{
	switch (PQresultStatus(r)) {
	case PGRES_TUPLES_OK:
		if (p->phase != PHASE_HELLO)
			return;
		if (PQnfields(r) == 4)
			take_hello(p, r);
		else if (!pg_read_streams(r, &p->streams, &p->n_streams))
			err_set(&p->first_error, ENOMEM, "out of memory for %d streams", PQntuples(r));
		return;
	case PGRES_FATAL_ERROR:
		note_error(p, r);
		return;
	default:
		return;
	}
}

/* Read what has come; true when a pipeline ended. */
static bool read_results(struct pg *p)
{
	while (!PQisBusy(p->conn)) {
		PGresult *r = PQgetResult(p->conn);
		bool sync;

		if (!r) {
			/* The end of one statement's results; with nothing more to come, twice in a row. */
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
	if (p->phase != PHASE_READY)
		arm(p, DEADLINE_S * US_PER_S);          /* there is progress */
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
		pipeline_done(p);
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
	if (p->phase == PHASE_CONNECTING)
		go_on_connecting(p);
	else
		go_on_talking(p, revents);
	return 0;
}

/* The kernel takes a whole batch at once and sends it over a slow line for minutes,
 * in which nothing happens that wakes us: that it holds less than before is progress. */
static bool still_sending(struct pg *p)
{
	int before = p->unsent;

	if (p->phase != PHASE_SENDING)
		return false;
	p->unsent = unsent(p);
	return p->unsent < before;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *data)
{
	static const char *const phases[] = { "wait", "connect", "hello", "idle", "commit" };
	struct pg *p = data;

	(void)s;
	(void)usec;
	if (p->phase == PHASE_WAITING)
		start_connecting(p);
	else if (still_sending(p))
		arm(p, DEADLINE_S * US_PER_S);
	else
		fail_connection(p, true, phases[p->phase]);
	return 0;
}

/* ---- life ---- */

int pg_new(sd_event *loop, const struct config *c, struct logcore *log, int64_t spread_us,
	   const struct pg_events *events, void *data, struct pg **ret, struct err *e)
{
	struct pg *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return err_set(e, ENOMEM, "out of memory for the database connection");
	*p = (struct pg){ .loop = loop, .config = c, .log = log, .events = events, .data = data,
			  .json = BUF(JSON_PARAMS_MAX) };
	r = sd_event_add_time_relative(loop, &p->timer, CLOCK_MONOTONIC, 0, 10 * US_PER_MS, on_timer, p);
	if (r < 0) {
		pg_free(p);
		return err_set(e, -r, "cannot make a timer: %s", strerror(-r));
	}
	enter(p, PHASE_WAITING);
	arm(p, pg_random_below(spread_us));
	*ret = p;
	return 0;
}

void pg_free(struct pg *p)
{
	if (!p)
		return;
	drop_connection(p);
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
	arm(p, 0);
}

int64_t pg_skew_us(const struct pg *p)
{
	return p->skew_us;
}
