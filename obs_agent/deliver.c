#include "deliver.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/parse.h"
#include "obs_agent/pg/pg.h"
#include "state_report.h"

enum {
	LOG_DELAY_S = 1,                /* a log line waits at most so long for others */
	CHECK_DELAY_S = 60,             /* a check that succeeded waits for the next metrics */
	NO_LIMIT = BATCH_LOG_ROWS_MAX,  /* rows of a batch while the server refuses no row */
};

struct deliver {
	const struct config *config;
	struct logcore *log;
	const struct deliver_events *events;
	void *data;
	struct pg *pg;
	sd_event_source *timer;
	struct batch batch[2];
	struct batch *filling;
	struct batch *sent;             /* in flight, or committed or not: unknown; NULL: none */
	struct outbox *outbox;          /* samples that can't be read again */
	size_t limit;                   /* rows of a batch; lowered to isolate a row that is refused */
	struct poison poison;           /* the last such row */
	int64_t flush_at_us;            /* monotonic; 0: no flush is due */
	int64_t sent_at_us;             /* monotonic: when `sent` went out */
	int64_t last_seq;               /* of the last batch known to be committed */
	struct state_report report;
	struct outage outage;
	bool outbox_in_trouble;
	bool positions_known;           /* the database has told its positions */
	bool source_waiting;            /* a source was refused, and waits for resume() */
	bool outbox_has_more;           /* the batch could not take all of the outbox */
	bool finishing;                 /* no more samples will come */
	bool backfill;                  /* the database is away: samples taken now are written late */
	struct deliver_state state;
};

/* ---- sending ---- */

/* The state, if this batch carries it. */
static struct text state_text(struct deliver *d)
{
	const struct state_report_now now = { d->outage.error[0] != '\0', outbox_state(d->outbox).lost };
	int64_t now_us = mono_us();

	if (!state_report_due(&d->report, d->sent->n[SAMPLE_METRICS] > 0, &now, now_us))
		return (struct text){ NULL, 0 };
	return state_report_send(&d->report, d->events->state, d->data, now.lost, now_us);
}

/* A batch that holds only lines of the agent's own log is not logged: its line would make the next batch. */
static void log_batch(const struct deliver *d, const struct batch *b, int level, const char *what, int64_t ms)
{
#define ROWS(id, name, table, kept, measured) logcore_kv(#name, b->n[SAMPLE_##id]),
	if (batch_all_rows(b) > b->n_own)
		logcore_log(d->log, level, what, logcore_kv("seq", b->seq), logcore_kv("ms", ms),
			    SAMPLE_KINDS(ROWS) logcore_kv("streams", b->n_positions));
#undef ROWS
}

static void send(struct deliver *d)
{
	assert(d->sent && d->sent != d->filling);
	if (d->sent->seq == 0)
		d->sent->seq = d->last_seq + 1;
	d->sent_at_us = mono_us();
	log_batch(d, d->sent, LOGCORE_TRACE, "batch sent", 0);
	pg_send(d->pg, d->sent, state_text(d));
}

static void arm(struct deliver *d)
{
	if (d->flush_at_us)
		sd_event_source_set_time(d->timer, (uint64_t)d->flush_at_us);
	sd_event_source_set_enabled(d->timer, d->flush_at_us ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static void flush_within(struct deliver *d, int64_t us)
{
	int64_t at = mono_us() + us;

	if (d->flush_at_us && d->flush_at_us <= at)
		return;
	d->flush_at_us = at;
	arm(d);
}

/* Troubles that begin together are sent together. */
static void plan_news(struct deliver *d)
{
	if (d->report.news)
		flush_within(d, state_report_delay_us(&d->report, mono_us()));
}

static void resume_source(struct deliver *d)
{
	if (d->source_waiting) {
		d->source_waiting = false;
		d->events->resume(d->data);
	}
}

/* Add what the outbox holds to the lines that were read. While a refused row is isolated, a batch has
 * rows of one kind only: those of the outbox first. */
static void fill(struct deliver *d)
{
	assert(!d->sent);
	if (d->limit == NO_LIMIT || batch_rows_and_rejects(d->filling) == 0)
		outbox_fill(d->outbox, d->filling, d->limit == NO_LIMIT ? SIZE_MAX : d->limit, d->finishing);
	d->outbox_has_more = outbox_has_unread(d->outbox);
}

/* Send the filling batch, if that is possible now. What must hold when this returns: a flush
 * that is due (flush_at_us has passed) waits for an answer or a connection, and both call this
 * again. If there is nothing to send, flush_at_us is cleared: the timer has fired, and
 * flush_within() would mistake the old deadline for a future one. */
static void try_send(struct deliver *d)
{
	if (!d->positions_known || d->sent || !pg_can_send(d->pg) || pg_clock_was_set(d->pg))
		return;
	d->flush_at_us = 0;
	arm(d);
	fill(d);
	if (batch_empty(d->filling) && !state_report_news_due(&d->report, mono_us())) {
		if (d->source_waiting)
			batch_reset(d->filling);        /* it held streams without new lines */
	} else {
		d->sent = d->filling;
		d->filling = &d->batch[d->sent == &d->batch[0]];
		send(d);
	}
	resume_source(d);
	plan_news(d);
}

static int on_flush(sd_event_source *s, uint64_t usec, void *data)
{
	struct deliver *d = data;

	(void)s;
	(void)usec;
	try_send(d);
	return 0;
}

/* ---- taking samples ---- */

static int64_t delay_us(const struct deliver *d, const struct sample *s)
{
	int64_t interval = d->config->interval_us;

	if (s->kind == SAMPLE_METRICS || !sample_is_routine(s))
		return LOG_DELAY_S * US_PER_S;
	return interval < CHECK_DELAY_S * US_PER_S ? interval : CHECK_DELAY_S * US_PER_S;
}

/* Lines, and gaps between them, are found again by reading the log again. */
static bool is_of_a_log(const struct sample *s)
{
	return s->kind == SAMPLE_LOG || (s->kind == SAMPLE_GAP && s->gap.stream_id);
}

static bool may_read(const struct deliver *d)
{
	return d->limit == NO_LIMIT ||
	       (batch_rows_and_rejects(d->filling) < d->limit && !outbox_has_unread(d->outbox));
}

/* A gap is never refused: it belongs to the line before it, which is taken. A batch has room for all of them,
 * unless memory is short: then it is read again as a whole, from the position that is committed. */
static bool add_of_log(struct deliver *d, const struct sample *s)
{
	bool gap = s->kind == SAMPLE_GAP;

	if ((gap || may_read(d)) && batch_add(d->filling, s))
		return true;
	d->source_waiting = true;
	if (gap)
		deliver_ask(d);
	else
		deliver_flush(d);
	return gap;
}

static void add_to_outbox(struct deliver *d, const struct sample *s)
{
	bool in_trouble;

	outbox_add(d->outbox, s, d->backfill);
	in_trouble = *outbox_state(d->outbox).trouble;
	if (in_trouble && !d->outbox_in_trouble)
		deliver_tell_state(d);
	d->outbox_in_trouble = in_trouble;
}

bool deliver_add(struct deliver *d, const struct sample *s)
{
	d->report.moves |= !sample_is_routine(s);
	if (!is_of_a_log(s))
		add_to_outbox(d, s);
	else if (!add_of_log(d, s))
		return false;
	if (batch_full(d->filling))
		deliver_flush(d);
	else
		flush_within(d, delay_us(d, s));
	return true;
}

bool deliver_set_position(struct deliver *d, const struct position *p)
{
	if (d->positions_known && batch_set_position(d->filling, p)) {
		if (p->finished || p->begins) {
			d->report.moves = true;
			flush_within(d, LOG_DELAY_S * US_PER_S);
		}
		return true;
	}
	d->source_waiting = true;
	deliver_flush(d);
	return false;
}

void deliver_flush(struct deliver *d)
{
	flush_within(d, 0);
}

void deliver_tell_state(struct deliver *d)
{
	d->report.news = true;
	plan_news(d);
}

void deliver_ask(struct deliver *d)
{
	d->positions_known = false;
	pg_reconnect(d->pg);
}

void deliver_finish(struct deliver *d)
{
	d->finishing = true;
	deliver_flush(d);
}

bool deliver_idle(const struct deliver *d)
{
	return !d->sent && batch_empty(d->filling) && outbox_is_empty(d->outbox, d->finishing);
}

/* ---- answers ---- */

static void take_committed(struct deliver *d)
{
	struct batch *b = d->sent;
	bool first = !d->state.last_commit_us;

	assert(b && b->seq == d->last_seq + 1);
	d->last_seq = b->seq;
	d->sent = NULL;
	d->state.batches++;
	for (int i = 0; i < SAMPLE_KIND_COUNT; i++)
		d->state.rows[i] += (int64_t)b->n[i];
	d->state.last_commit_us = wall_us();
	d->outage.error[0] = '\0';
	d->limit = d->limit < NO_LIMIT / 2 ? d->limit * 2 : NO_LIMIT;
	log_batch(d, b, LOGCORE_DEBUG, "batch committed", (mono_us() - d->sent_at_us) / US_PER_MS);
	outbox_committed(d->outbox, b);
	d->events->committed(d->data, b);
	batch_reset(b);
	if (first)
		d->events->changed(d->data);
}

static void on_committed(void *data)
{
	struct deliver *d = data;

	take_committed(d);
	if (d->source_waiting || batch_full(d->filling) || (d->flush_at_us && d->flush_at_us <= mono_us()) ||
	    d->outbox_has_more)
		try_send(d);
}

/* Read everything again that is not committed: lines from their files, the rest from the outbox. Needed
 * at the first connect, when a failover has lost commits, and to send the same rows in smaller batches. */
static void start_over(struct deliver *d, const struct pg_hello *h)
{
	const struct position *own;
	size_t n;

	batch_reset(d->filling);
	if (d->sent)
		batch_reset(d->sent);
	d->sent = NULL;
	assert(batch_empty(&d->batch[0]) && batch_empty(&d->batch[1]));
	own = positions_of(h->streams, h->n_streams, SOURCE_OUTBOX, &n);
	outbox_positions(d->outbox, own, n);
	d->positions_known = d->events->positions(d->data, h->streams, h->n_streams);
	if (!d->positions_known)
		pg_reconnect(d->pg);
}

static void on_ready(void *data, const struct pg_hello *h)
{
	struct deliver *d = data;
	struct outbox_state o = outbox_state(d->outbox);

	if (d->outage.since_us)
		logcore_info(d->log, "connected to the database", logcore_kv("last_seq", h->last_seq),
			     logcore_kv("pending", o.samples));
	d->report.news |= outage_end(&d->outage, o.samples, o.lost);
	d->state.connected = true;
	d->backfill = false;
	if (d->sent && h->last_seq == d->sent->seq)
		take_committed(d);              /* the server committed, and its answer was lost */
	if (!d->positions_known || h->last_seq != d->last_seq) {
		d->last_seq = h->last_seq;
		start_over(d, h);
	}
	if (d->sent)
		send(d);
	else
		try_send(d);
	resume_source(d);
	d->events->changed(d->data);
}

/* The batch had one row only: it is the bad one. The next batch writes it to rejects. */
static void note_bad_row(struct deliver *d, const char *sqlstate, const struct err *e)
{
	struct poison *p = &d->poison;

	*p = (struct poison){ .stream_id = d->sent->first_stream, .offset = d->sent->first_offset };
	snprintf(p->sqlstate, sizeof p->sqlstate, "%s", sqlstate);
	snprintf(p->reason, sizeof p->reason, "%.*s", (int)sizeof p->reason - 1, e->msg);
	d->batch[0].poison = d->batch[1].poison = p;
	logcore_warning(d->log, "the database refuses a row, it goes to rejects",
			logcore_kv("stream", p->stream_id), logcore_kv("offset", p->offset),
			logcore_kv("error", e->msg));
}

/* The server refuses a value in the batch, or can't process so many rows: send half as many next
 * time. False: that would not help. */
static bool halve_batch(struct deliver *d, enum pg_verdict verdict, const char *sqlstate, const struct err *e)
{
	size_t n = d->sent ? batch_rows(d->sent) : 0;

	if (n == 0 || (n == 1 && verdict != PG_DATA))
		return false;
	if (n == 1)
		note_bad_row(d, sqlstate, e);
	d->limit = n > 1 ? n / 2 : 1;
	assert(d->limit >= 1 && d->limit < NO_LIMIT);
	d->positions_known = false;     /* so that the rows are read again */
	return true;
}

static void on_lost(void *data, enum pg_verdict verdict, const char *sqlstate, const struct err *e)
{
	struct deliver *d = data;

	d->state.connected = false;
	if ((verdict == PG_DATA || verdict == PG_TOO_MUCH) && halve_batch(d, verdict, sqlstate, e) &&
	    verdict == PG_DATA)
		return;                 /* the server is well: pg.c connects again at once */
	d->backfill = true;
	outage_begin(&d->outage, verdict, e, d->log);
	d->events->changed(d->data);
	if (verdict == PG_FENCED)
		d->events->fenced(d->data);
	if (verdict == PG_MOVED)
		d->positions_known = false;
}

/* ---- life ---- */

static const struct pg_events pg_events = { on_ready, on_committed, on_lost };

int deliver_new(const struct deliver_options *o, const struct deliver_events *events, void *data,
		struct deliver **ret, struct err *e)
{
	const struct pg_setup connection = { o->loop, o->config, o->log, o->spread_us };
	struct deliver *d = calloc(1, sizeof *d);
	int r;

	if (!d)
		return err_set(e, ENOMEM, "out of memory for the batches");
	*d = (struct deliver){ .config = o->config,
			       .log = o->log,
			       .events = events,
			       .data = data,
			       .limit = NO_LIMIT,
			       .outage.since_us = wall_us() };
	state_report_init(&d->report);
	batch_init(&d->batch[0]);
	batch_init(&d->batch[1]);
	d->filling = &d->batch[0];
	d->outbox = outbox_open(o->state_folder, o->log);
	r = sd_event_add_time(o->loop, &d->timer, CLOCK_MONOTONIC, 0, 100 * US_PER_MS, on_flush, d);
	if (r < 0)
		r = err_set(e, -r, "cannot make a timer: %s", strerror(-r));
	else if (!d->outbox)
		r = err_set(e, ENOMEM, "out of memory for the outbox");
	else
		r = pg_new(&connection, &pg_events, d, &d->pg, e);
	if (r < 0) {
		deliver_free(d);
		return r;
	}
	arm(d);
	*ret = d;
	return 0;
}

void deliver_free(struct deliver *d)
{
	if (!d)
		return;
	pg_free(d->pg);
	sd_event_source_disable_unref(d->timer);
	batch_free(&d->batch[0]);
	batch_free(&d->batch[1]);
	outbox_close(d->outbox);
	state_report_free(&d->report);
	free(d);
}

struct deliver_state deliver_state(const struct deliver *d)
{
	struct deliver_state s = d->state;

	s.outbox = outbox_state(d->outbox);
	s.skew_us = pg_skew_us(d->pg);
	s.away_since_us = d->outage.since_us;
	s.outage = d->outage.last;
	s.last_error = d->outage.error;
	return s;
}
