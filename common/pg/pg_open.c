#include "pg_open.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "pg_message.h"
#include "pg_verdict.h"

#define CHECK_HOST "check host and port in the URL"

enum { TIMEOUT_MAX_S = 3600 };

void pg_close_p(PGconn **c)
{
	PQfinish(*c);
	*c = NULL;
}

void pg_clear_p(PGresult **r)
{
	PQclear(*r);
	*r = NULL;
}

static int check_string(const char *url, struct err *e)
{
	PQconninfoOption *parsed = PQconninfoParse(url, NULL);
	bool good = parsed;

	PQconninfoFree(parsed);
	if (good)
		return 0;
	return err_set(e, EINVAL, "this is no connection string; write postgresql://USER@HOST/DATABASE");
}

/* ---- attempts ---- */

/* An attempt at all targets. */
struct attempt {
	struct pg_targets *targets;
	int timeout_s;                  /* for each */
	bool denied;                    /* a server refused the login */
	char said[ERR_MSG_MAX];         /* why not, of all targets */
};

static void pg_targets_free_p(struct pg_targets **t)
{
	pg_targets_free(*t);
}

static void look_up_names(struct attempt *a)
{
	struct resolve_names names = *pg_targets_names(a->targets);
	char sentence[ERR_MSG_MAX];

	resolve_now(&names);
	pg_targets_found(a->targets, &names);
	for (size_t i = 0; i < names.n; i++) {
		if (names.name[i].n)
			continue;
		snprintf(sentence, sizeof sentence, "could not translate host name \"%s\" to address: %s; "
			 CHECK_HOST, names.name[i].name, names.name[i].error);
		pg_add_sentence(a->said, sizeof a->said, sentence);
	}
}

/* False: the deadline has passed. */
static bool wait_for(PGconn *conn, short events, int64_t deadline_us)
{
	struct pollfd at = { .fd = PQsocket(conn), .events = events };
	int r;

	do {
		int64_t left_us = deadline_us - mono_us();

		r = left_us > 0 ? poll(&at, 1, (int)(left_us / US_PER_MS) + 1) : 0;
	} while (r < 0 && errno == EINTR);
	return r != 0;
}

static void note_refusal(struct attempt *a, PGconn *conn)
{
	struct pg_refusal refusal;

	pg_judge_refusal(PQerrorMessage(conn), &refusal);
	a->denied |= refusal.denied;
	if (refusal.denied)
		pg_targets_refused(a->targets);
	pg_add_sentence(a->said, sizeof a->said, refusal.sentence);
	if (!refusal.judgement.hint)
		pg_add_sentence(a->said, sizeof a->said, CHECK_HOST);
}

/* Finish what pg_targets_next() began; a refusal has its SQLSTATE in its text then. */
static bool finish_connecting(struct attempt *a, PGconn *conn)
{
	const int64_t deadline_us = mono_us() + a->timeout_s * US_PER_S;
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;
	char sentence[ERR_MSG_MAX];

	PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	while (PQstatus(conn) != CONNECTION_BAD && next != PGRES_POLLING_OK && next != PGRES_POLLING_FAILED) {
		if (!wait_for(conn, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_us)) {
			snprintf(sentence, sizeof sentence,
				 "connection to server at \"%s\", port %s failed: timeout expired; "
				 CHECK_HOST, PQhostaddr(conn), PQport(conn));
			pg_add_sentence(a->said, sizeof a->said, sentence);
			return false;
		}
		next = PQconnectPoll(conn);
	}
	PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
	if (PQstatus(conn) == CONNECTION_OK)
		return true;
	note_refusal(a, conn);
	return false;
}

static PGconn *try_targets(struct attempt *a)
{
	PGconn *next;

	pg_targets_begin(a->targets);
	while (pg_targets_next(a->targets, &next)) {
		CLEANUP(pg_close_p) PGconn *conn = next;

		if (conn && finish_connecting(a, conn))
			return TAKE_PTR(conn);
	}
	return NULL;
}

PGconn *pg_open(const char *url, const struct pg_manner *m, struct err *e)
{
	CLEANUP(pg_targets_free_p) struct pg_targets *targets = NULL;
	struct attempt a = { .timeout_s = m->timeout_s };
	int64_t own_s;
	PGconn *conn;

	if (check_string(url, e) < 0)
		return NULL;
	if (pg_targets_new(url, m, &targets, e) < 0) {
		e->code = ENOTCONN;             /* a service or the environment, which is wrong */
		return NULL;
	}
	a.targets = targets;
	if (parse_i64(text_of(pg_targets_option(targets, "connect_timeout")), &own_s) && own_s > 0)
		a.timeout_s = own_s < TIMEOUT_MAX_S ? (int)own_s : TIMEOUT_MAX_S;
	look_up_names(&a);
	conn = try_targets(&a);
	if (!conn)
		err_set(e, a.denied ? EACCES : ENOTCONN, "%s", *a.said ? a.said : "out of memory");
	return conn;
}
