#include "pg_connect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/pg/pg_message.h"
#include "resolve.h"

enum {
	ONE_S = 15,                     /* for the only target */
	EACH_S = 5,                     /* for each of several */
	NAMES_S = 15,                   /* for names, if no address is known */
	NAMES_KNOWN_S = 3,              /* for names, if addresses are known from before */
};

struct pg_connect {
	sd_event *loop;
	const struct pg_connect_events *events;
	void *data;
	struct pg_targets *targets;
	struct resolver *resolver;
	sd_event_source *timer;         /* of the lookup, or of the current target */
	sd_event_source *io;
	PGconn *conn;
	bool looking_up;
	int deadline_s;                 /* for each target of the round */
	struct pg_failure failure;      /* of the round so far */
	bool tried;                     /* there is one */
};

static void arm(struct pg_connect *c, int seconds)
{
	sd_event_source_set_time_relative(c->timer, (uint64_t)seconds * US_PER_S);
	sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

static void drop(struct pg_connect *c)
{
	c->io = sd_event_source_disable_unref(c->io);
	PQfinish(c->conn);
	c->conn = NULL;
}

/* ---- what was tried in vain ---- */

/* The round's verdict is the most hopeful one of its targets; its error has the sentences of all. */
static void note(struct pg_connect *c, enum pg_verdict verdict, bool slow, const char *sqlstate,
		 const char *what)
{
	struct pg_failure *f = &c->failure;

	if (!c->tried)
		snprintf(f->e.msg, sizeof f->e.msg, "connect: ");
	pg_add_sentence(f->e.msg, sizeof f->e.msg, what);
	if (!c->tried || verdict < f->verdict) {
		f->verdict = verdict;
		snprintf(f->sqlstate, sizeof f->sqlstate, "%s", sqlstate ? sqlstate : "");
	}
	f->slow = f->slow || slow;
	f->e.code = slow ? ETIMEDOUT : ECONNABORTED;
	c->tried = true;
}

static void note_refusal(struct pg_connect *c)
{
	struct pg_refusal refusal;

	pg_judge_refusal(PQerrorMessage(c->conn), &refusal);
	if (refusal.denied)
		pg_targets_refused(c->targets);
	note(c, refusal.judgement.verdict, false, refusal.state, refusal.sentence);
}

static void note_silence(struct pg_connect *c)
{
	char what[ERR_MSG_MAX / 2];
	const char *address = PQhostaddr(c->conn), *host = PQhost(c->conn);

	snprintf(what, sizeof what, "%s: no answer from the database within %d s",
		 address && *address ? address : host ? host : "", c->deadline_s);
	note(c, PG_RETRY, true, NULL, what);
}

static void note_names(struct pg_connect *c)
{
	const struct resolve_names *names = pg_targets_names(c->targets);
	char what[ERR_MSG_MAX / 2];

	for (size_t i = 0; i < names->n; i++) {
		const struct resolve_name *x = &names->name[i];

		if (x->n && !c->looking_up)
			continue;
		snprintf(what, sizeof what, "no address for %s: %s", x->name,
			 c->looking_up ? "the name servers do not answer" : x->error ? x->error : "none");
		note(c, PG_RETRY, c->looking_up, NULL, what);
	}
}

/* ---- one target ---- */

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *data);

sd_event_source *pg_watch(sd_event *loop, sd_event_source *old, const PGconn *conn, uint32_t events,
			  sd_event_io_handler_t on_io_event, void *data)
{
	int fd = PQsocket(conn);

	sd_event_source_disable_unref(old);
	old = NULL;
	if (fd >= 0 && sd_event_add_io(loop, &old, fd, events, on_io_event, data) >= 0)
		sd_event_source_set_description(old, "postgresql");
	return old;
}

static void ignore_notice(void *data, const char *message)
{
	(void)data;
	(void)message;
}

static void try_next(struct pg_connect *c)
{
	drop(c);
	while (pg_targets_next(c->targets, &c->conn)) {
		if (c->conn && PQstatus(c->conn) != CONNECTION_BAD) {
			PQsetNoticeProcessor(c->conn, ignore_notice, NULL);
			/* a refusal has its SQLSTATE then */
			PQsetErrorVerbosity(c->conn, PQERRORS_VERBOSE);
			arm(c, c->deadline_s);
			c->io = pg_watch(c->loop, c->io, c->conn, EPOLLOUT, on_io, c);
			return;
		}
		note_refusal(c);
		drop(c);
	}
	sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	if (!c->tried)
		note(c, PG_RETRY, false, NULL, "no server to connect to");
	c->events->failed(c->data, &c->failure);
}

static void hand_over(struct pg_connect *c)
{
	PGconn *conn = c->conn;

	c->conn = NULL;
	sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	pg_targets_good(c->targets);
	c->events->up(c->data, conn);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *data)
{
	struct pg_connect *c = data;
	PostgresPollingStatusType status = PQconnectPoll(c->conn);

	(void)s;
	(void)fd;
	(void)revents;
	c->io = sd_event_source_disable_unref(c->io);
	if (status == PGRES_POLLING_FAILED) {
		note_refusal(c);
		try_next(c);
	} else if (status == PGRES_POLLING_OK) {
		hand_over(c);
	} else {
		c->io = pg_watch(c->loop, NULL, c->conn, status == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT,
				 on_io, c);
	}
	return 0;
}

/* ---- a round ---- */

static void try_targets(struct pg_connect *c)
{
	size_t n;

	note_names(c);
	c->looking_up = false;
	n = pg_targets_begin(c->targets);
	c->deadline_s = n > 1 ? EACH_S : ONE_S;
	try_next(c);
}

static void on_names(void *data, const struct resolve_names *answer)
{
	struct pg_connect *c = data;
	bool waited_for = c->looking_up;

	pg_targets_found(c->targets, answer);
	c->looking_up = false;
	if (waited_for)
		try_targets(c);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *data)
{
	struct pg_connect *c = data;

	(void)s;
	(void)usec;
	if (c->looking_up) {
		try_targets(c);
	} else {
		note_silence(c);
		try_next(c);
	}
	return 0;
}

void pg_connect_start(struct pg_connect *c)
{
	const struct resolve_names *names = pg_targets_names(c->targets);
	struct err e;

	c->failure = (struct pg_failure){ .verdict = PG_RETRY };
	c->tried = false;
	if (names->n == 0) {
		try_targets(c);
		return;
	}
	if (resolver_ask(c->resolver, names, &e) < 0) {
		note(c, PG_RETRY, false, NULL, e.msg);
		try_targets(c);
		return;
	}
	c->looking_up = true;
	arm(c, pg_targets_begin(c->targets) ? NAMES_KNOWN_S : NAMES_S);
}

/* ---- life ---- */

int pg_connect_new(sd_event *loop, const char *url, const struct pg_manner *manner,
		   const struct pg_connect_events *events, void *data, struct pg_connect **ret, struct err *e)
{
	struct pg_connect *c = calloc(1, sizeof *c);
	int r;

	if (!c)
		return err_set(e, ENOMEM, "out of memory for the database connection");
	*c = (struct pg_connect){ .loop = loop, .events = events, .data = data };
	r = pg_targets_new(url, manner, &c->targets, e);
	if (r == 0)
		r = resolver_new(loop, on_names, c, &c->resolver, e);
	if (r == 0) {
		r = sd_event_add_time_relative(loop, &c->timer, CLOCK_MONOTONIC, 0, 10 * US_PER_MS, on_timer,
					       c);
		if (r < 0)
			r = err_set(e, -r, "cannot make a timer: %s", strerror(-r));
	}
	if (r < 0) {
		pg_connect_free(c);
		return r;
	}
	sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
	*ret = c;
	return 0;
}

void pg_connect_free(struct pg_connect *c)
{
	if (!c)
		return;
	drop(c);
	sd_event_source_disable_unref(c->timer);
	resolver_free(c->resolver);
	pg_targets_free(c->targets);
	free(c);
}
