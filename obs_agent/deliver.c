#include "deliver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/parse.h"
#include "obs_agent/outbox/outbox.h"
#include "obs_agent/pg/pg.h"

enum {
	LOG_DELAY_S = 1,                /* how long a line waits for company, ... */
	NEWS_DELAY_S = 1,               /* ... and news of the state */
	CHECK_DELAY_S = 60,             /* a good check may wait for the next metrics: one transaction for both */
	STATE_EVERY_S = 300,            /* the agent's state is sent this often, with the next metrics when it has news, ... */
	STATE_NEWS_S = 10,              /* ... and alone when its news can't wait, so long after the one before */
	REPEAT_ERROR_S = 300,           /* the same trouble is logged again this often */
	STATE_BYTES_MAX = 64 * 1024,
	NO_LIMIT = BATCH_LOG_ROWS_MAX,  /* rows of a batch, when the server refuses none */
	OUTAGE_TOLD_S = 10,             /* shorter ones are no news */
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
	struct outbox *outbox;          /* what can't be read again */
	size_t limit;                   /* rows of a batch: fewer while a row that is refused is searched */
	struct poison poison;           /* the last one that was found */
	int64_t flush_at_us;            /* monotonic, 0: nothing waits */
	int64_t last_seq;               /* of the last batch known to be committed */
	int64_t state_sent_us;          /* monotonic */
	int64_t lost_told;              /* what was lost as it was sent last */
	int64_t lost_before;            /* and before the outage */
	int64_t error_logged_us;        /* monotonic */
	struct buf state_json;
	bool outbox_in_trouble;
	bool state_news;                /* of the state, that the database has not been sent */
	bool known;                     /* the database has told its positions */
	bool refused;                   /* a log line did not fit */
	bool more;                      /* the outbox did not fit into the batch */
	bool last;                      /* no sample will come any more */
	bool late;                      /* what comes now has to wait for the database */
	struct deliver_state state;
	char last_error[ERR_MSG_MAX];
};

static size_t rows(const struct batch *b)
{
	return b->n_metrics + b->n_checks + b->n_gaps + b->n_rejects + b->n_logs;
}

/* ---- sending ---- */

/* Monotonic: when news of the state may be sent alone. */
static int64_t news_at_us(const struct deliver *d)
{
	return d->state_sent_us ? d->state_sent_us + STATE_NEWS_S * US_PER_S : 0;
}

static bool news_due(const struct deliver *d)
{
	return d->state_news && mono_us() >= news_at_us(d);
}

/* Does this batch carry the state? It goes with metrics, or alone when it must. */
static bool state_due(const struct deliver *d)
{
	bool news = d->last_error[0] || d->state_news || outbox_state(d->outbox).lost > d->lost_told;

	if (!d->sent->n_metrics)
		return news_due(d);
	return !d->state_sent_us || news || mono_us() - d->state_sent_us >= STATE_EVERY_S * US_PER_S;
}

static struct text state_text(struct deliver *d)
{
	int64_t lost = outbox_state(d->outbox).lost;

	if (!state_due(d))
		return (struct text){ NULL, 0 };
	d->state_sent_us = mono_us();
	d->state_news = false;
	buf_reset(&d->state_json);
	if (!d->events->state(d->data, &d->state_json) || !buf_cstr(&d->state_json))
		return (struct text){ NULL, 0 };
	d->lost_told = lost;
	return (struct text){ d->state_json.data, d->state_json.len };
}

static void send(struct deliver *d)
{
	if (d->sent->seq == 0)
		d->sent->seq = d->last_seq + 1;
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

/* Several troubles of one moment are told together. */
static void plan_news(struct deliver *d)
{
	int64_t within_us = news_at_us(d) - mono_us();

	if (d->state_news)
		flush_within(d, within_us > NEWS_DELAY_S * US_PER_S ? within_us : NEWS_DELAY_S * US_PER_S);
}

static void make_room(struct deliver *d)
{
	if (d->refused) {
		d->refused = false;
		d->events->room(d->data);
	}
}

/* What the outbox holds joins the lines that were read. While a row is searched that the server
 * refuses, batches are of one kind: the outbox first. */
static void fill(struct deliver *d)
{
	if (d->limit == NO_LIMIT || batch_rows_and_rejects(d->filling) == 0)
		outbox_fill(d->outbox, d->filling, d->limit == NO_LIMIT ? SIZE_MAX : d->limit, d->last);
	d->more = outbox_has_unread(d->outbox);
}

/* The filling batch becomes the one on its way, if it may. What must hold when this
 * returns: a flush that is due (flush_at_us has passed) waits for an answer or for a
 * connection, which call this again. A due flush of nothing is forgotten: its timer has
 * fired, and flush_within() would take it for one that is still to come. */
static void try_send(struct deliver *d)
{
	if (!d->known || d->sent || !pg_can_send(d->pg) || pg_clock_was_set(d->pg))
		return;
	d->flush_at_us = 0;
	arm(d);
	fill(d);
	if (batch_empty(d->filling) && !news_due(d)) {
		if (d->refused)
			batch_reset(d->filling);        /* streams that are known and were not read on */
	} else {
		d->sent = d->filling;
		d->filling = &d->batch[d->sent == &d->batch[0]];
		send(d);
	}
	make_room(d);
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

	if (s->kind != SAMPLE_CHECK || s->check.error != CHECK_OK || s->check.changed)
		return LOG_DELAY_S * US_PER_S;
	return interval < CHECK_DELAY_S * US_PER_S ? interval : CHECK_DELAY_S * US_PER_S;
}

/* Lines, and gaps in a log, can be found again by reading it. */
static bool is_of_a_log(const struct sample *s)
{
	return s->kind == SAMPLE_LOG || (s->kind == SAMPLE_GAP && s->gap.stream_id);
}

static bool may_read(const struct deliver *d)
{
	return d->limit == NO_LIMIT ||
	       (batch_rows_and_rejects(d->filling) < d->limit && !outbox_has_unread(d->outbox));
}

/* A gap is never refused: it belongs to what was read before it. */
static bool add_of_log(struct deliver *d, const struct sample *s)
{
	if ((s->kind == SAMPLE_GAP || may_read(d)) && batch_add(d->filling, s))
		return true;
	d->refused = true;
	deliver_flush(d);
	if (s->kind == SAMPLE_GAP)
		outbox_add(d->outbox, s, d->late);
	return s->kind == SAMPLE_GAP;
}

static void add_to_outbox(struct deliver *d, const struct sample *s)
{
	bool in_trouble;

	outbox_add(d->outbox, s, d->late);
	in_trouble = *outbox_state(d->outbox).trouble;
	if (in_trouble && !d->outbox_in_trouble)
		deliver_tell_state(d);
	d->outbox_in_trouble = in_trouble;
}

bool deliver_add(struct deliver *d, const struct sample *s)
{
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

void deliver_tell_state(struct deliver *d)
{
	d->state_news = true;
	plan_news(d);
}

void deliver_ask(struct deliver *d)
{
	d->known = false;
	pg_reconnect(d->pg);
}

void deliver_finish(struct deliver *d)
{
	d->last = true;
	deliver_flush(d);
}

bool deliver_idle(const struct deliver *d)
{
	return !d->sent && batch_empty(d->filling) && outbox_is_empty(d->outbox, d->last);
}

/* ---- answers ---- */

static void take_committed(struct deliver *d)
{
	struct batch *b = d->sent;
	bool first = !d->state.last_commit_us;

	d->last_seq = b->seq;
	d->sent = NULL;
	d->state.batches++;
	d->state.rows += (int64_t)rows(b);
	d->state.rejects += (int64_t)b->n_rejects;
	d->state.last_commit_us = wall_us();
	d->last_error[0] = '\0';
	d->limit = d->limit < NO_LIMIT / 2 ? d->limit * 2 : NO_LIMIT;
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
	if (d->refused || batch_full(d->filling) || (d->flush_at_us && d->flush_at_us <= mono_us()) ||
	    d->more)
		try_send(d);
}

/* All that is not committed is taken up again from where the database stands: lines from their
 * files, the rest from the outbox. At the first connect, when the database does not hold what we
 * thought it held (a failover lost it), and to send the same in smaller batches. */
static void start_over(struct deliver *d, const struct pg_hello *h)
{
	size_t logs = 0;

	batch_reset(d->filling);
	if (d->sent)
		batch_reset(d->sent);
	d->sent = NULL;
	outbox_positions(d->outbox, h->streams, h->n_streams);
	for (size_t i = 0; i < h->n_streams; i++)
		if (strcmp(h->streams[i].path, OUTBOX_PATH) != 0)
			h->streams[logs++] = h->streams[i];
	d->known = d->events->positions(d->data, h->streams, logs);
	if (!d->known)
		pg_reconnect(d->pg);
}

static void note_outage(struct deliver *d)
{
	struct outbox_state o = outbox_state(d->outbox);
	int64_t now = wall_us();

	if (d->state.away_since_us && now - d->state.away_since_us >= OUTAGE_TOLD_S * US_PER_S) {
		d->state.outage = (struct deliver_outage){ d->state.away_since_us, now, o.samples, o.lost - d->lost_before };
		d->state_news = true;
	}
	d->state.away_since_us = 0;
	d->lost_before = o.lost;
}

static void on_ready(void *data, const struct pg_hello *h)
{
	struct deliver *d = data;

	if (d->state.away_since_us)
		logcore_info(d->log, "connected to the database", logcore_kv("last_seq", h->last_seq),
			     logcore_kv("pending", outbox_state(d->outbox).samples));
	note_outage(d);
	d->state.connected = true;
	d->late = false;
	if (d->sent && h->last_seq == d->sent->seq)
		take_committed(d);              /* the answer was lost, the commit was not */
	if (!d->known || h->last_seq != d->last_seq) {
		d->last_seq = h->last_seq;
		start_over(d, h);
	}
	if (d->sent)
		send(d);
	else
		try_send(d);
	make_room(d);
	d->events->changed(d->data);
}

/* The row that was alone in its batch is to become a row of rejects. */
static void take_poison(struct deliver *d, const char *sqlstate, const struct err *e)
{
	struct poison *p = &d->poison;

	*p = (struct poison){ .stream_id = d->sent->first_stream, .offset = d->sent->first_offset };
	snprintf(p->sqlstate, sizeof p->sqlstate, "%s", sqlstate);
	snprintf(p->reason, sizeof p->reason, "%.*s", (int)sizeof p->reason - 1, e->msg);
	d->batch[0].poison = d->batch[1].poison = p;
	logcore_warning(d->log, "the database refuses a row, it goes to rejects", logcore_kv("stream", p->stream_id),
			logcore_kv("offset", p->offset), logcore_kv("error", e->msg));
}

/* The server refuses what is in a row, or the batch is too much for it: half as many rows next
 * time. False: that is no way out. */
static bool narrow(struct deliver *d, enum pg_verdict verdict, const char *sqlstate, const struct err *e)
{
	size_t n = d->sent ? batch_rows(d->sent) : 0;

	if (n == 0 || (n == 1 && verdict != PG_DATA))
		return false;
	if (n == 1)
		take_poison(d, sqlstate, e);
	d->limit = n > 1 ? n / 2 : 1;
	d->known = false;               /* what is in the batches is to be read again */
	return true;
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

static void on_lost(void *data, enum pg_verdict verdict, const char *sqlstate, const struct err *e)
{
	struct deliver *d = data;

	d->state.connected = false;
	if ((verdict == PG_DATA || verdict == PG_TOO_MUCH) && narrow(d, verdict, sqlstate, e) && verdict == PG_DATA)
		return;                 /* the server is well, and asked again at once */
	if (!d->state.away_since_us)
		d->state.away_since_us = wall_us();
	d->late = true;
	log_trouble(d, verdict, e);
	d->events->changed(d->data);
	if (verdict == PG_FENCED)
		d->events->fenced(d->data);
	if (verdict == PG_MOVED)
		d->known = false;
}

/* ---- life ---- */

static const struct pg_events pg_events = { on_ready, on_committed, on_lost };

int deliver_new(const struct deliver_options *o, const struct deliver_events *events, void *data,
		struct deliver **ret, struct err *e)
{
	struct deliver *d = calloc(1, sizeof *d);
	int r;

	if (!d)
		return err_set(e, ENOMEM, "out of memory for the batches");
	*d = (struct deliver){ .config = o->config, .log = o->log, .events = events, .data = data, .limit = NO_LIMIT,
			       .state_json = BUF(STATE_BYTES_MAX) };
	batch_init(&d->batch[0]);
	batch_init(&d->batch[1]);
	d->filling = &d->batch[0];
	d->state.away_since_us = wall_us();
	d->outbox = outbox_open(o->state_folder, o->log);
	r = sd_event_add_time(o->loop, &d->timer, CLOCK_MONOTONIC, 0, 100 * US_PER_MS, on_flush, d);
	if (r < 0)
		r = err_set(e, -r, "cannot make a timer: %s", strerror(-r));
	else if (!d->outbox)
		r = err_set(e, ENOMEM, "out of memory for the outbox");
	else
		r = pg_new(o->loop, o->config, o->log, o->spread_us, &pg_events, d, &d->pg, e);
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
	buf_free(&d->state_json);
	free(d);
}

struct deliver_state deliver_state(const struct deliver *d)
{
	struct deliver_state s = d->state;

	s.outbox = outbox_state(d->outbox);
	s.skew_us = pg_skew_us(d->pg);
	s.last_error = d->last_error;
	return s;
}
