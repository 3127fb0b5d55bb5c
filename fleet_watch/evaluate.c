#include "evaluate.h"

#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/embed.h"
#include "common/parse.h"
#include "external.h"
#include "ping.h"
#include "question.h"

EMBED(sql_no_idle_limit, "fleet_watch/sql/no_idle_limit.sql");
EMBED(sql_learn, "fleet_watch/sql/learn.sql");
EMBED(sql_evaluate, "fleet_watch/sql/evaluate.sql");
EMBED(sql_alone, "fleet_watch/sql/alone.sql");
EMBED(sql_limit, "fleet_watch/sql/limit.sql");
EMBED(sql_flush, "fleet_watch/sql/flush.sql");

enum {
	LEARN_MAX = 10,   /* calls before an evaluation */
	STATEMENT_S = 60, /* of the session: session.sql */
	LIMIT_TIMES = 4,  /* an evaluation may take so many times what the last one took */
	LIMIT_SIZE = 24,
};

/* In the order of evaluate.sql. */
enum column { RESULT, CUT_OFF, UNFINISHED, ALONE };

struct evaluate {
	struct evaluate_setup s;
	struct watch_db *db;
	struct external *external;
	struct ping *ping;
	struct question learn, judge, alone, flush;
	bool under_way;      /* an evaluation, from its questions to others to its end */
	bool again;          /* times of rules are left */
	int64_t slow;        /* rules that are to be evaluated by themselves */
	int64_t limit_s;     /* of an evaluation */
	int learned;         /* calls before this evaluation */
	int64_t slot;        /* of the last evaluation: wall clock in units of the interval */
	int64_t flush_at_us; /* monotonic */
	int64_t asked_us;    /* monotonic: when the evaluation under way began */
	struct evaluate_state state;
	char away[ERR_MSG_MAX]; /* why the session is not there; "": it is */
};

/* ---- groups of alerts --------------------------------------------------------------------- */

static int64_t interval_us(const struct evaluate *v)
{
	return v->s.conf->evaluate_every_s * US_PER_S;
}

/* Is a part of the last evaluation still to be done? */
static bool is_left(const struct evaluate *v)
{
	return v->again || v->slow;
}

static void on_flushed(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct evaluate *v = data;
	double interval = (double)interval_us(v), in_us = interval;

	if (question_answered(&v->flush, v->s.log, r, lost, e) && PQntuples(r) && !PQgetisnull(r, 0, 0) &&
	    parse_double(text_of(PQgetvalue(r, 0, 0)), &in_us))
		in_us *= (double)US_PER_S;
	v->flush_at_us = mono_us() + (int64_t)(in_us < 0 ? 0 : in_us < interval ? in_us : interval);
	v->state.failed |= !r;
	v->state.over = !is_left(v);
	v->s.flushed(v->s.data);
}

static void flush(struct evaluate *v)
{
	if (v->flush.asking)
		return;
	v->flush.asking = true;
	watch_db_ask(v->db, sql_flush, 0, NULL, on_flushed, v);
}

/* ---- rules -------------------------------------------------------------------------------- */

static void on_limited(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct evaluate *v = data;

	if (!r && !lost)
		logcore_error(v->s.log, "the limit of a statement can't be set", logcore_kv("error", e->msg));
}

static void limit(struct evaluate *v, int64_t seconds)
{
	char text[LIMIT_SIZE];
	const char *const params[] = { text };

	snprintf(text, sizeof text, "%" PRId64 "s", seconds);
	watch_db_ask(v->db, sql_limit, 1, params, on_limited, v);
}

/* A limit for one question only. */
static void ask_within(struct evaluate *v, int64_t seconds, const char *sql, int n, const char *const *params,
		       watch_db_answer *answer)
{
	limit(v, seconds);
	watch_db_ask(v->db, sql, n, params, answer, v);
	limit(v, STATEMENT_S);
}

static int64_t clamped(int64_t seconds, int64_t min, int64_t max)
{
	return seconds < min ? min : seconds > max ? max : seconds;
}

/* An evaluation that takes long although no rule is to blame, as in a very large fleet, gets more time. */
static void adapt_limit(struct evaluate *v, bool ended)
{
	int64_t wanted_s = ended ? LIMIT_TIMES * v->state.took_ms / 1000 : 2 * v->limit_s;

	v->limit_s = clamped(wanted_s, v->s.conf->rule_timeout_s, STATEMENT_S);
}

static void on_success(struct evaluate *v, const PGresult *r)
{
	v->again = *PQgetvalue(r, 0, UNFINISHED) == 't';
	parse_i64(text_of(PQgetvalue(r, 0, ALONE)), &v->slow);
	logcore_debug(v->s.log, "evaluated", logcore_kv("ms", v->state.took_ms),
		      logcore_kv("result", PQgetvalue(r, 0, RESULT)));
	if (*PQgetvalue(r, 0, CUT_OFF) == 't')
		return;
	adapt_limit(v, true);
	v->state.evaluated_us = wall_us();
	ping_send(v->ping);
}

static void on_evaluated(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct evaluate *v = data;

	v->under_way = v->again = false;
	v->slow = 0;
	v->state.took_ms = (mono_us() - v->asked_us) / US_PER_MS;
	v->state.failed |= !r;
	if (question_answered(&v->judge, v->s.log, r, lost, e) && PQntuples(r))
		on_success(v, r);
	else if (!lost)
		adapt_limit(v, false);
	if (lost)
		return;
	v->s.flushed(v->s.data); /* an evaluation flushes, too */
	flush(v);
}

static void judge(struct evaluate *v)
{
	const char *const params[] = { v->s.watcher };

	v->under_way = true;
	v->asked_us = mono_us();
	v->judge.asking = true;
	ask_within(v, v->limit_s, sql_evaluate, 1, params, on_evaluated);
}

static void on_alone(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct evaluate *v = data;

	v->under_way = false;
	v->slow = 0;
	v->state.failed |= !r;
	if (question_answered(&v->alone, v->s.log, r, lost, e) && PQntuples(r))
		parse_i64(text_of(PQgetvalue(r, 0, 0)), &v->slow);
	if (!lost)
		flush(v);
}

/* A rule that took too long, after the others. */
static void judge_alone(struct evaluate *v)
{
	v->under_way = true;
	v->alone.asking = true;
	ask_within(v, v->s.conf->rule_timeout_s, sql_alone, 0, NULL, on_alone);
}

static void learn(struct evaluate *v);

/* Rules of patterns judge what was learned just before. */
static void on_learned(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct evaluate *v = data;
	int64_t lines = 0;

	if (question_answered(&v->learn, v->s.log, r, lost, e) && PQntuples(r))
		parse_i64(text_of(PQgetvalue(r, 0, 0)), &lines);
	v->state.failed |= !r;
	if (lines && ++v->learned < LEARN_MAX) {
		learn(v);
		return;
	}
	judge(v);
}

static void learn(struct evaluate *v)
{
	v->learn.asking = true;
	watch_db_ask(v->db, sql_learn, 0, NULL, on_learned, v);
}

/* Answers of others are there, as far as they came in time. */
static void on_external(void *data)
{
	struct evaluate *v = data;

	v->learned = 0;
	learn(v);
}

static int64_t slot_of(const struct evaluate *v, int64_t at_us)
{
	return at_us / interval_us(v);
}

void evaluate_due(struct evaluate *v)
{
	int64_t slot = slot_of(v, wall_us());

	if (v->under_way || !watch_db_is_up(v->db))
		return;
	if (slot != v->slot) {
		v->slot = slot;
		v->under_way = true;
		v->state.begun = true;
		external_ask(v->external);
	} else if (v->again) {
		judge(v);
	} else if (v->slow) {
		judge_alone(v);
	} else if (mono_us() >= v->flush_at_us) {
		flush(v);
	}
}

void evaluate_database_up(struct evaluate *v)
{
	watch_db_hurry(v->db);
}

int64_t evaluate_next_us(const struct evaluate *v)
{
	int64_t slot_us = interval_us(v) - wall_us() % interval_us(v), flush_us = v->flush_at_us - mono_us();
	int64_t next = flush_us < slot_us && !v->under_way ? flush_us : slot_us;

	if (!watch_db_is_up(v->db))
		return interval_us(v);
	return next > 0 && !is_left(v) ? next : 0;
}

bool evaluate_busy(const struct evaluate *v)
{
	return v->under_way || v->flush.asking || is_left(v);
}

struct evaluate_state evaluate_state(const struct evaluate *v)
{
	struct evaluate_state s = v->state;

	s.left = is_left(v);
	s.trouble = v->away[0]                ? v->away
		    : v->judge.trouble[0]   ? v->judge.trouble
		    : v->alone.trouble[0] ? v->alone.trouble
					  : v->flush.trouble;
	return s;
}

/* ---- its life ----------------------------------------------------------------------------- */

static void on_prepared(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct evaluate *v = data;

	if (!r && !lost)
		logcore_error(v->s.log, "the session that evaluates can't be prepared",
			      logcore_kv("error", e->msg));
}

static void on_up(void *data)
{
	struct evaluate *v = data;

	v->away[0] = '\0';
	watch_db_ask(v->db, sql_no_idle_limit, 0, NULL, on_prepared, v);
}

static void on_down(void *data, const struct err *e)
{
	struct evaluate *v = data;

	if (strcmp(v->away, e->msg) != 0 && watch_db_is_up(v->s.other))
		logcore_warning(v->s.log, "the session that evaluates is away", logcore_kv("error", e->msg));
	snprintf(v->away, sizeof v->away, "%s", e->msg);
}

int evaluate_new(const struct evaluate_setup *s, struct evaluate **ret, struct err *e)
{
	static const struct watch_db_events events = { on_up, on_down };
	struct evaluate *v = calloc(1, sizeof *v);
	int r;

	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	*v = (struct evaluate){ .s = *s,
				.limit_s = s->conf->rule_timeout_s,
				.learn = { .failed = "patterns of log lines are not learned" },
				.judge = { .failed = "alerts are not evaluated" },
				.alone = { .failed = "a slow rule is not evaluated" },
				.flush = { .failed = "groups of alerts are not flushed" } };
	r = watch_db_new(s->loop, s->conf->database_url, s->log, &events, v, &v->db, e);
	if (r == 0)
		r = external_new(
			&(struct external_setup){ s->loop, s->conf, v->db, s->log, on_external, v },
			&v->external, e);
	if (r == 0 && !(v->ping = ping_new(s->glue, s->conf, s->log)))
		r = err_set(e, ENOMEM, "out of memory");
	if (r < 0) {
		evaluate_free(v);
		return r;
	}
	*ret = v;
	return 0;
}

void evaluate_free(struct evaluate *v)
{
	if (!v)
		return;
	ping_free(v->ping);
	external_free(v->external);
	watch_db_free(v->db);
	free(v);
}
