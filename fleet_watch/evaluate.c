#include "evaluate.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/embed.h"
#include "common/parse.h"
#include "external.h"
#include "ping.h"
#include "question.h"

EMBED(sql_learn, "fleet_watch/sql/learn.sql");
EMBED(sql_evaluate, "fleet_watch/sql/evaluate.sql");
EMBED(sql_flush, "fleet_watch/sql/flush.sql");

enum { LEARN_MAX = 10 /* calls before an evaluation */ };

struct evaluate {
	struct evaluate_setup s;
	struct external *external;
	struct ping *ping;
	struct question learn, judge, flush;
	bool under_way;      /* an evaluation, from its questions to others to its end */
	int learned;         /* calls before this evaluation */
	int64_t slot;        /* of the last evaluation: wall clock in units of the interval */
	int64_t flush_at_us; /* monotonic */
	int64_t asked_us;    /* monotonic: when the evaluation under way began */
	struct evaluate_state state;
};

/* ---- groups of alerts --------------------------------------------------------------------- */

static int64_t interval_us(const struct evaluate *v)
{
	return v->s.conf->evaluate_every_s * US_PER_S;
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
	v->state.over = true;
	v->s.flushed(v->s.data);
}

static void flush(struct evaluate *v)
{
	if (v->flush.asking)
		return;
	v->flush.asking = true;
	watch_db_ask(v->s.db, sql_flush, 0, NULL, on_flushed, v);
}

/* ---- rules -------------------------------------------------------------------------------- */

static void on_evaluated(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct evaluate *v = data;

	v->under_way = false;
	v->state.took_ms = (mono_us() - v->asked_us) / US_PER_MS;
	v->state.failed |= !r;
	if (question_answered(&v->judge, v->s.log, r, lost, e)) {
		v->state.evaluated_us = wall_us();
		logcore_debug(v->s.log, "evaluated", logcore_kv("ms", v->state.took_ms),
			      logcore_kv("result", PQntuples(r) ? PQgetvalue(r, 0, 0) : ""));
		ping_send(v->ping);
	}
	if (!lost)
		flush(v);
}

static void learn(struct evaluate *v);

/* Rules of patterns judge what was learned just before. */
static void on_learned(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct evaluate *v = data;
	const char *const params[] = { v->s.watcher };
	int64_t lines = 0;

	if (question_answered(&v->learn, v->s.log, r, lost, e) && PQntuples(r))
		parse_i64(text_of(PQgetvalue(r, 0, 0)), &lines);
	v->state.failed |= !r;
	if (lines && ++v->learned < LEARN_MAX) {
		learn(v);
		return;
	}
	v->asked_us = mono_us();
	v->judge.asking = true;
	watch_db_ask(v->s.db, sql_evaluate, 1, params, on_evaluated, v);
}

static void learn(struct evaluate *v)
{
	v->learn.asking = true;
	watch_db_ask(v->s.db, sql_learn, 0, NULL, on_learned, v);
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

	if (v->under_way)
		return;
	if (slot != v->slot) {
		v->slot = slot;
		v->under_way = true;
		v->state.begun = true;
		external_ask(v->external);
	} else if (mono_us() >= v->flush_at_us) {
		flush(v);
	}
}

int64_t evaluate_next_us(const struct evaluate *v)
{
	int64_t slot_us = interval_us(v) - wall_us() % interval_us(v), flush_us = v->flush_at_us - mono_us();
	int64_t next = flush_us < slot_us && !v->under_way ? flush_us : slot_us;

	return next > 0 ? next : 0;
}

bool evaluate_busy(const struct evaluate *v)
{
	return v->under_way || v->flush.asking;
}

struct evaluate_state evaluate_state(const struct evaluate *v)
{
	struct evaluate_state s = v->state;

	s.trouble = v->judge.trouble[0] ? v->judge.trouble : v->flush.trouble;
	return s;
}

/* ---- its life ----------------------------------------------------------------------------- */

int evaluate_new(const struct evaluate_setup *s, struct evaluate **ret, struct err *e)
{
	struct evaluate *v = calloc(1, sizeof *v);
	int r;

	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	*v = (struct evaluate){ .s = *s,
				.learn = { .failed = "patterns of log lines are not learned" },
				.judge = { .failed = "alerts are not evaluated" },
				.flush = { .failed = "groups of alerts are not flushed" } };
	r = external_new(&(struct external_setup){ s->loop, s->conf, s->db, s->log, on_external, v },
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
	free(v);
}
