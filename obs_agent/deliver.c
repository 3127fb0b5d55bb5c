#include "deliver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../common/clock.h"
#include "../common/parse.h"
#include "pg.h"

enum {
	LOG_DELAY_S = 1,                /* how long a line waits for company */
	CHECK_DELAY_S = 60,             /* a good check may wait for the next metrics: one transaction for both */
	STATE_EVERY_S = 300,            /* the agent's state is sent this often, and when it has news */
	REPEAT_ERROR_S = 300,           /* the same trouble is logged again this often */
	STATE_BYTES_MAX = 64 * 1024,
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
	struct batch *sent;             /* on its way or of unknown fate; NULL: none */
	int64_t flush_at_us;            /* monotonic, 0: nothing waits */
	int64_t last_seq;               /* of the last batch known to be committed */
	int64_t state_sent_us;          /* monotonic */
	int64_t lost_told;              /* state.lost as it was sent last */
	int64_t error_logged_us;        /* monotonic */
	struct buf state_json;
	bool known;                     /* the database has told its positions */
	bool refused;                   /* a log line did not fit */
	int64_t lost_since_us;          /* wall clock: first of the samples that did not fit */
	int64_t lost_pending;           /* they are not yet in a gap row */
	struct deliver_state state;
	char last_error[ERR_MSG_MAX];
};

static size_t rows(const struct batch *b)
{
	return b->n_metrics + b->n_checks + b->n_gaps + b->n_logs;
}

/* ---- sending ---- */

static struct text state_text(struct deliver *d)
{
	int64_t now = mono_us();
	bool news = d->last_error[0] || d->state.lost > d->lost_told;

	if (d->state_sent_us && !news && now - d->state_sent_us < STATE_EVERY_S * US_PER_S)
		return (struct text){ NULL, 0 };
	buf_reset(&d->state_json);
	if (!d->events->state(d->data, &d->state_json) || !buf_cstr(&d->state_json))
		return (struct text){ NULL, 0 };
	d->state_sent_us = now;
	d->lost_told = d->state.lost;
	return (struct text){ d->state_json.data, d->state_json.len };
}

static void send(struct deliver *d)
{
	if (d->sent->seq == 0)
		d->sent->seq = d->last_seq + 1;
	pg_send(d->pg, d->sent, d->sent->n_metrics ? state_text(d) : (struct text){ NULL, 0 });
}

static void arm(struct deliver *d)
{
	if (d->flush_at_us)
		sd_event_source_set_time(d->timer, (uint64_t)d->flush_at_us);
	sd_event_source_set_enabled(d->timer, d->flush_at_us ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static void make_room(struct deliver *d)
{
	if (d->refused) {
		d->refused = false;
		d->events->room(d->data);
	}
}

/* The filling batch becomes the one on its way, if it may. What must hold when this
 * returns: a flush that is due (flush_at_us has passed) waits for an answer or for a
 * connection, which call this again. A due flush of nothing is forgotten: its timer has
 * fired, and flush_within() would take it for one that is still to come. */
static void try_send(struct deliver *d)
{
	if (!d->known || d->sent || !pg_can_send(d->pg))
		return;
	d->flush_at_us = 0;
	arm(d);
	if (batch_empty(d->filling)) {
		if (d->refused)
			batch_drop_logs(d->filling);    /* streams that are known and were not read on */
		make_room(d);
		return;
	}
	d->sent = d->filling;
	d->filling = &d->batch[d->sent == &d->batch[0]];
	send(d);
	make_room(d);
}

static void flush_within(struct deliver *d, int64_t us)
{
	int64_t at = mono_us() + us;

	if (d->flush_at_us && d->flush_at_us <= at)
		return;
	d->flush_at_us = at;
	arm(d);
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

	if (s->kind != SAMPLE_CHECK || s->check.error != CHECK_OK)
		return LOG_DELAY_S * US_PER_S;
	return interval < CHECK_DELAY_S * US_PER_S ? interval : CHECK_DELAY_S * US_PER_S;
}

/* What did not fit is counted, and becomes one gap row when there is room. */
static void count_lost(struct deliver *d, const struct sample *s)
{
	if (d->lost_pending++ == 0)
		d->lost_since_us = s->timestamp_us;
	d->state.lost++;
}

static void add_gap_for_lost(struct deliver *d)
{
	struct sample gap = { .kind = SAMPLE_GAP, .timestamp_us = d->lost_since_us,
			      .gap = { .kind = "buffer_full", .lines = d->lost_pending, .bytes = -1,
				       .detail = TEXT("samples that did not fit into memory while the database was away") } };

	if (d->lost_pending > 0 && batch_add(d->filling, &gap))
		d->lost_pending = 0;
}

bool deliver_add(struct deliver *d, const struct sample *s)
{
	if (!batch_add(d->filling, s)) {
		if (s->kind != SAMPLE_LOG) {
			count_lost(d, s);
			return true;
		}
		d->refused = true;
		deliver_flush(d);
		return false;
	}
	if (batch_full(d->filling))
		deliver_flush(d);
	else
		flush_within(d, delay_us(d, s));
	return true;
}

bool deliver_advance(struct deliver *d, const struct position *p)
{
	if (d->known && batch_advance(d->filling, p)) {
		if (p->finished)
			flush_within(d, LOG_DELAY_S * US_PER_S);
		return true;
	}
	d->refused = true;
	deliver_flush(d);
	return false;
}

void deliver_flush(struct deliver *d)
{
	flush_within(d, 0);
}

void deliver_ask(struct deliver *d)
{
	d->known = false;
	pg_reconnect(d->pg);
}

bool deliver_idle(const struct deliver *d)
{
	return !d->sent && batch_empty(d->filling);
}

/* ---- answers ---- */

static void take_committed(struct deliver *d)
{
	struct batch *b = d->sent;

	d->last_seq = b->seq;
	d->sent = NULL;
	d->state.batches++;
	d->state.rows += (int64_t)rows(b);
	d->state.last_commit_us = wall_us();
	d->last_error[0] = '\0';
	d->events->committed(d->data, b);
	batch_reset(b);
}

static void on_committed(void *data)
{
	struct deliver *d = data;

	take_committed(d);
	add_gap_for_lost(d);
	if (d->refused || batch_full(d->filling) || (d->flush_at_us && d->flush_at_us <= mono_us()))
		try_send(d);
}

/* The database does not hold what we thought it held (a failover lost it): log
 * rows are read again from where it stands, the rest goes out as it is. */
static void start_over(struct deliver *d, const struct pg_hello *h)
{
	batch_drop_logs(d->filling);
	if (d->sent) {
		batch_drop_logs(d->sent);
		d->sent->seq = h->last_seq + 1;
	}
	d->known = true;
	d->events->positions(d->data, h->streams, h->n_streams);
}

static void on_ready(void *data, const struct pg_hello *h)
{
	struct deliver *d = data;

	if (d->state.away_since_us)
		logcore_info(d->log, "connected to the database", logcore_kv("last_seq", h->last_seq),
			     logcore_kv("pending", rows(d->filling) + (d->sent ? rows(d->sent) : 0)));
	d->state.away_since_us = 0;
	d->state.connected = true;
	d->batch[0].backfill = d->batch[1].backfill = false;
	if (d->sent && h->last_seq == d->sent->seq)
		take_committed(d);              /* the answer was lost, the commit was not */
	if (!d->known || h->last_seq != d->last_seq) {
		d->last_seq = h->last_seq;
		start_over(d, h);
	}
	if (d->sent && batch_empty(d->sent)) {
		batch_reset(d->sent);
		d->sent = NULL;
	}
	add_gap_for_lost(d);
	if (d->sent)
		send(d);
	else
		try_send(d);
	make_room(d);
}

static void log_trouble(struct deliver *d, enum pg_verdict verdict, const struct err *e)
{
	int64_t now = mono_us();

	if (strcmp(d->last_error, e->msg) == 0 && now - d->error_logged_us < REPEAT_ERROR_S * US_PER_S)
		return;
	d->error_logged_us = now;
	snprintf(d->last_error, sizeof d->last_error, "%s", e->msg);
	if (verdict == PG_RETRY || verdict == PG_MOVED)
		logcore_warning(d->log, "database away, will retry", logcore_kv("error", e->msg));
	else
		logcore_error(d->log, "database refuses, will retry", logcore_kv("error", e->msg));
}

static void on_lost(void *data, enum pg_verdict verdict, const struct err *e)
{
	struct deliver *d = data;

	d->state.connected = false;
	if (!d->state.away_since_us)
		d->state.away_since_us = wall_us();
	d->batch[0].backfill = d->batch[1].backfill = true;
	log_trouble(d, verdict, e);
	if (verdict == PG_FENCED)
		d->events->fenced(d->data);
	if (verdict == PG_MOVED)
		d->known = false;
}

/* ---- life ---- */

static const struct pg_events pg_events = { on_ready, on_committed, on_lost };

int deliver_new(sd_event *loop, const struct config *c, struct logcore *log, int64_t spread_us,
		const struct deliver_events *events, void *data, struct deliver **ret, struct err *e)
{
	struct deliver *d = calloc(1, sizeof *d);
	int r;

	if (!d)
		return err_set(e, ENOMEM, "out of memory for the batches");
	*d = (struct deliver){ .config = c, .log = log, .events = events, .data = data,
			       .state_json = BUF(STATE_BYTES_MAX) };
	batch_init(&d->batch[0]);
	batch_init(&d->batch[1]);
	d->filling = &d->batch[0];
	d->state.away_since_us = wall_us();
	r = sd_event_add_time(loop, &d->timer, CLOCK_MONOTONIC, 0, 100 * US_PER_MS, on_flush, d);
	if (r < 0)
		r = err_set(e, -r, "cannot make a timer: %s", strerror(-r));
	else
		r = pg_new(loop, c, log, spread_us, &pg_events, d, &d->pg, e);
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
	buf_free(&d->state_json);
	free(d);
}

struct deliver_state deliver_state(const struct deliver *d)
{
	struct deliver_state s = d->state;

	s.pending = rows(d->filling) + (d->sent ? rows(d->sent) : 0);
	s.skew_us = pg_skew_us(d->pg);
	s.last_error = d->last_error;
	return s;
}

bool deliver_status(const struct deliver *deliver, struct buf *out)
{
	struct deliver_state d = deliver_state(deliver);
	char when[RFC3339_SIZE];
	bool ok = buf_addf(out, "\"connected\":%s,\"pending\":%zu,\"lost\":%" PRId64 ",\"batches\":%" PRId64
				",\"rows\":%" PRId64 ",\"skew_ms\":%" PRId64, d.connected ? "true" : "false", d.pending,
			   d.lost, d.batches, d.rows, d.skew_us / US_PER_MS);

	if (d.last_commit_us) {
		format_rfc3339(when, d.last_commit_us);
		ok = ok && buf_addf(out, ",\"last_commit\":\"%s\"", when);
	}
	if (d.away_since_us) {
		format_rfc3339(when, d.away_since_us);
		ok = ok && buf_addf(out, ",\"buffering_since\":\"%s\"", when);
	}
	if (d.last_error[0])
		ok = ok && buf_adds(out, ",\"last_error\":") && buf_add_json(out, text_of(d.last_error));
	return ok;
}
