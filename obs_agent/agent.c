/* agent.c - the calls of the sources, and passing on to them what delivery tells. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "wire/row_json.h"
#include "agent.h"
#include "agent_life.h"
#include "obs_agent/notice/notice.h"
#include "self.h"

enum {
	START_SPREAD_MS = 1000,         /* agents that start together spread their connects over this time */
	DRY_LINE_MAX = 1 << 20,
};

static const struct source *const sources[] = { &src_tail, &src_check, &src_proc };
enum { SOURCES = sizeof sources / sizeof *sources };

struct agent {
	const struct agent_life *life;
	struct deliver *deliver;        /* NULL: dry run */
	struct notice *notice;          /* NULL: dry run, or --once */
	void *state[SOURCES];
	bool round_done[SOURCES];
	bool stopping;
	struct buf line;                /* of a dry run */
};

/* ---- what sources ask ---- */

sd_event *agent_loop(struct agent *a)
{
	return a->life->loop;
}

const struct config *agent_config(struct agent *a)
{
	return a->life->config;
}

struct logcore *agent_log(struct agent *a)
{
	return a->life->log;
}

bool agent_add(struct agent *a, const struct sample *s)
{
	if (a->deliver)
		return deliver_add(a->deliver, s);
	buf_reset(&a->line);
	if (row_print(&a->line, s))
		fwrite(a->line.data, 1, a->line.len, stdout);
	return true;
}

bool agent_set_position(struct agent *a, const struct position *p)
{
	return !a->deliver || deliver_set_position(a->deliver, p);
}

void agent_tell_state(struct agent *a)
{
	if (a->deliver)
		deliver_tell_state(a->deliver);
}

/* ---- what delivery tells ---- */

/* To each source its own. What belongs to none (a later version's) stays as it is in the database. */
static bool on_positions(void *data, const struct position *p, size_t n)
{
	struct agent *a = data;
	bool taken = true;

	for (int i = 0; i < SOURCES; i++) {
		size_t n_own;
		const struct position *own = positions_of(p, n, sources[i]->name, &n_own);

		if (a->state[i] && sources[i]->positions)
			taken &= sources[i]->positions(a->state[i], own, n_own);
	}
	return taken;
}

static void on_committed(void *data, const struct batch *b)
{
	struct agent *a = data;

	for (int i = 0; i < SOURCES; i++)
		if (a->state[i] && sources[i]->committed)
			sources[i]->committed(a->state[i], b);
	a->life->committed(a->life->data);
}

static void on_resume(void *data)
{
	struct agent *a = data;

	for (int i = 0; i < SOURCES; i++)
		if (a->state[i] && sources[i]->resume && !a->stopping)
			sources[i]->resume(a->state[i]);
}

static void on_fenced(void *data)
{
	struct agent *a = data;

	a->life->fenced(a->life->data);
}

static void on_changed(void *data)
{
	struct agent *a = data;
	struct deliver_state d = deliver_state(a->deliver);

	if (a->notice)
		notice_database(a->notice, d.away_since_us != 0, d.last_error);
	a->life->changed(a->life->data);
}

bool agent_state_members(struct agent *a, struct buf *out)
{
	struct deliver_state d = deliver_state(a->deliver);
	bool ok = buf_addf(out, "\"version\":\"%s\",\"pid\":%d,\"rss_kb\":%" PRId64 ",", OBSERV_VERSION,
			   (int)getpid(), self_rss_kb());

	ok = ok && deliver_state_print(&d, out);
	if (a->notice)
		ok = ok && buf_adds(out, ",\"notify\":") && notice_print(a->notice, out);
	for (int i = 0; i < SOURCES; i++)
		if (a->state[i] && sources[i]->status)
			ok = ok && buf_addf(out, ",\"%s\":", sources[i]->name) &&
			     sources[i]->status(a->state[i], out);
	return ok;
}

static bool on_state(void *data, struct buf *out)
{
	return buf_addc(out, '{') && agent_state_members(data, out) && buf_addc(out, '}');
}

struct deliver_state agent_deliver_state(const struct agent *a)
{
	return deliver_state(a->deliver);
}

/* ---- start, reload and stop ---- */

static int start_source(struct agent *a, int i, struct err *e)
{
	int r = sources[i]->start(a, &a->state[i], e);

	return r < 0 ? err_prefix(e, "%s", sources[i]->name) : 0;
}

static void stop_source(struct agent *a, int i)
{
	if (a->state[i])
		sources[i]->stop(TAKE_PTR(a->state[i]));
}

static void reload_source(struct agent *a, int i)
{
	struct err e;

	if (a->state[i] && sources[i]->reload) {
		sources[i]->reload(a->state[i]);
		return;
	}
	stop_source(a, i);
	if (start_source(a, i, &e) < 0)
		logcore_error(a->life->log, "source did not start", logcore_kv("error", e.msg));
	else if (a->state[i] && sources[i]->positions && a->deliver)
		deliver_ask(a->deliver);        /* the source missed the positions of the first connect */
}

static int start_delivery(struct agent *a, struct err *e)
{
	static const struct deliver_events events = { on_positions, on_committed, on_resume,
						      on_fenced,    on_changed,   on_state };
	struct deliver_options o = { .loop = a->life->loop, .config = a->life->config, .log = a->life->log,
				     .state_folder = getenv("STATE_DIRECTORY"),         /* set by systemd */
				     .spread_us = a->life->once ? 0 : START_SPREAD_MS * US_PER_MS };

	if (a->life->dry_run)
		return 0;
	return deliver_new(&o, &events, a, &a->deliver, e);
}

static int start_notice(struct agent *a, struct err *e)
{
	struct notice_options o = { .loop = a->life->loop, .config = a->life->config, .log = a->life->log,
				    .state_folder = getenv("STATE_DIRECTORY") };

	return a->life->dry_run || a->life->once ? 0 : notice_new(&o, &a->notice, e);
}

int agent_start(const struct agent_life *life, struct agent **ret, struct err *e)
{
	struct agent *a = calloc(1, sizeof *a);
	int r;

	if (!a)
		return err_set(e, ENOMEM, "out of memory for the agent");
	*a = (struct agent){ .life = life, .line = BUF(DRY_LINE_MAX) };
	r = start_delivery(a, e);
	if (r >= 0)
		r = start_notice(a, e);
	for (int i = 0; i < SOURCES && r >= 0; i++)
		r = start_source(a, i, e);
	if (r < 0) {
		agent_stop(a);
		return r;
	}
	if (life->dry_run)
		on_positions(a, NULL, 0);
	*ret = a;
	return 0;
}

void agent_reload(struct agent *a)
{
	for (int i = 0; i < SOURCES; i++)
		reload_source(a, i);
	if (a->notice)
		notice_reload(a->notice);
	agent_tell_state(a);
}

void agent_finish(struct agent *a, bool stopping)
{
	a->stopping = stopping;
	if (a->deliver)
		deliver_finish(a->deliver);
}

bool agent_round_is_over(struct agent *a)
{
	bool over = true;

	for (int i = 0; i < SOURCES; i++) {
		if (a->state[i] && !a->round_done[i])
			a->round_done[i] = sources[i]->once(a->state[i]);
		over &= !a->state[i] || a->round_done[i];
	}
	return over;
}

bool agent_idle(const struct agent *a)
{
	return !a->deliver || deliver_idle(a->deliver);
}

void agent_stop(struct agent *a)
{
	if (!a)
		return;
	for (int i = SOURCES - 1; i >= 0; i--)
		stop_source(a, i);
	notice_free(a->notice);
	deliver_free(a->deliver);
	buf_free(&a->line);
	free(a);
}
