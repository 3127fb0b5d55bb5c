/* When which batch is sent, and what happens if the answer is missing; the connection is a fake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "obs_agent/deliver.c"

/* ---- a connection that only notes what it is given ---- */

struct pg {
	const struct pg_events *events;
	void *data;
	bool ready;
	int sends, reconnects;
	int64_t seq;
	size_t logs, metrics, rejects;  /* of what was sent last */
	bool unanswered, state;         /* the agent's state was with it */
	struct position sent[BATCH_STREAMS_MAX];
	size_t n_sent;
	struct position stored[8];      /* the outbox's, in the database */
	size_t n_stored;
};

static struct pg fake;

int pg_new(const struct pg_setup *s, const struct pg_events *events, void *data, struct pg **ret,
	   struct err *e)
{
	(void)s;
	(void)e;
	fake = (struct pg){ .events = events, .data = data };
	*ret = &fake;
	return 0;
}

void pg_free(struct pg *p)
{
	(void)p;
}

bool pg_can_send(const struct pg *p)
{
	return p->ready;
}

void pg_send(struct pg *p, struct batch *b, struct text state)
{
	p->state = state.s;
	p->ready = false;
	p->sends++;
	p->seq = b->seq;
	p->logs = b->n[SAMPLE_LOG];
	p->metrics = b->n[SAMPLE_METRICS];
	p->rejects = b->n[SAMPLE_REJECT];
	p->unanswered = true;
	p->n_sent = b->n_positions;
	if (b->n_positions > 0)
		memcpy(p->sent, b->positions, b->n_positions * sizeof *b->positions);
}

void pg_reconnect(struct pg *p)
{
	p->ready = false;
	p->reconnects++;
}

bool pg_clock_was_set(struct pg *p)
{
	(void)p;
	return false;
}

int64_t pg_skew_us(const struct pg *p)
{
	(void)p;
	return 0;
}

/* The database has committed the last batch. */
static void store(void)
{
	for (size_t i = 0; i < fake.n_sent; i++) {
		size_t at = 0;

		if (strcmp(fake.sent[i].source, SOURCE_OUTBOX) != 0)
			continue;
		while (at < fake.n_stored && fake.stored[at].stream_id != fake.sent[i].stream_id)
			at++;
		fake.stored[at] = fake.sent[i];
		fake.n_stored = at == fake.n_stored ? at + 1 : fake.n_stored;
	}
	fake.unanswered = false;
}

static void connect_at(int64_t last_seq)
{
	struct position told[8];
	struct pg_hello hello = { .last_seq = last_seq, .streams = told };

	if (fake.unanswered && last_seq == fake.seq)
		store();
	fake.unanswered = false;
	memcpy(told, fake.stored, sizeof told);
	hello.n_streams = fake.n_stored;
	fake.ready = true;
	fake.events->ready(fake.data, &hello);
}

static void commit(void)
{
	store();
	fake.ready = true;
	fake.events->committed(fake.data);
}

static void lose(enum pg_verdict verdict)
{
	struct err e;

	err_set(&e, ECONNABORTED, "gone");
	fake.ready = false;
	fake.events->lost(fake.data, verdict, verdict == PG_DATA ? "22021" : "", &e);
}

/* ---- what deliver.c calls ---- */

struct seen {
	int positions, resumed, fenced, changed;
	size_t committed_logs, committed_metrics;
};

static bool on_seen_positions(void *data, const struct position *p, size_t n)
{
	(void)p;
	(void)n;
	((struct seen *)data)->positions++;
	return true;
}

static void on_seen_committed(void *data, const struct batch *b)
{
	((struct seen *)data)->committed_logs += b->n[SAMPLE_LOG];
	((struct seen *)data)->committed_metrics += b->n[SAMPLE_METRICS];
}

static void on_seen_resume(void *data)
{
	((struct seen *)data)->resumed++;
}

static void on_seen_fenced(void *data)
{
	((struct seen *)data)->fenced++;
}

static void on_seen_changed(void *data)
{
	((struct seen *)data)->changed++;
}

static bool has_state;

static bool some_state(void *data, struct buf *out)
{
	(void)data;
	return has_state && buf_adds(out, "{}");
}

static struct seen seen;
static struct deliver *d;
static sd_event *loop;

static int begin(void **state)
{
	static const struct deliver_events events = { on_seen_positions, on_seen_committed, on_seen_resume,
						      on_seen_fenced, on_seen_changed, some_state };
	static struct config config = { .interval_us = 10 * US_PER_S };
	struct err e;

	(void)state;
	seen = (struct seen){ 0 };
	has_state = true;
	if (sd_event_new(&loop) < 0)
		return -1;
	return deliver_new(&(struct deliver_options){ .loop = loop, .config = &config }, &events, &seen, &d,
			   &e);
}

static int end(void **state)
{
	(void)state;
	deliver_free(d);
	loop = sd_event_unref(loop);
	return 0;
}

static struct sample metric(void)
{
	return (struct sample){ .kind = SAMPLE_METRICS, .timestamp_us = 1 };
}

static struct sample line(int64_t stream, int64_t offset)
{
	return (struct sample){ .kind = SAMPLE_LOG, .timestamp_us = 1,
				.log = { .stream_id = stream, .offset = offset, .message = TEXT("m") } };
}

static bool add_line(int64_t stream, int64_t from, int64_t to)
{
	struct position p = { .stream_id = stream, .from = from, .to = from, .file_id = "8:1/1:ab" };
	struct sample s = line(stream, from);

	if (!deliver_set_position(d, &p) || !deliver_add(d, &s))
		return false;
	p.to = to;
	return deliver_set_position(d, &p);
}

/* The timer has fired, if one is armed. */
static void let_flush_come(void)
{
	int enabled;

	assert_true(sd_event_source_get_enabled(d->timer, &enabled) >= 0);
	if (enabled == SD_EVENT_OFF)
		return;
	d->flush_at_us = 1;             /* long ago */
	sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
	on_flush(d->timer, 0, d);
}

/* ---- promises ---- */

static void a_batch_is_sent_and_the_next_waits_for_its_answer(void **state)
{
	(void)state;
	connect_at(41);
	assert_true(add_line(1, 0, 10));
	let_flush_come();
	assert_int_equal(fake.sends, 1);
	assert_int_equal(fake.seq, 42);
	assert_true(add_line(1, 10, 20));
	let_flush_come();
	assert_int_equal(fake.sends, 1);
	commit();
	assert_int_equal(fake.sends, 2);
	assert_int_equal(fake.seq, 43);
	commit();
	assert_true(deliver_idle(d));
	assert_int_equal(seen.committed_logs, 2);
}

static void a_lost_answer_of_a_commit_is_not_sent_again(void **state)
{
	(void)state;
	connect_at(0);
	assert_true(add_line(1, 0, 10));
	let_flush_come();
	lose(PG_RETRY);
	connect_at(1);
	assert_int_equal(fake.sends, 1);
	assert_int_equal(seen.committed_logs, 1);
	assert_int_equal(seen.positions, 1);
	assert_true(deliver_idle(d));
}

static void a_batch_that_did_not_commit_is_sent_again_as_it_was(void **state)
{
	(void)state;
	connect_at(0);
	assert_true(add_line(1, 0, 10));
	let_flush_come();
	lose(PG_RETRY);
	assert_true(add_line(1, 10, 20));
	connect_at(0);
	assert_int_equal(fake.sends, 2);
	assert_int_equal(fake.seq, 1);
	assert_int_equal(fake.logs, 1);
	assert_int_equal(seen.positions, 1);
}

/* A gap that the outbox kept would be stored once from there, and once when its log is read again. */
static void a_gap_that_has_no_room_is_stored_once(void **state)
{
	static char detail[BATCH_RECORD_BYTES_MAX];
	struct sample gap = { .kind = SAMPLE_GAP, .timestamp_us = 1,
			      .gap = { .stream_id = 1, .kind = "truncated", .lines = -1, .bytes = 5,
				       .detail = { detail, sizeof detail } } };
	struct sample too_much = gap;

	(void)state;
	memset(detail, 'x', sizeof detail);
	too_much.gap.detail.len = 5;
	connect_at(0);
	assert_true(add_line(1, 0, 10));
	while (batch_add(d->filling, &gap))
		;
	gap.gap.detail.len = d->filling->json[SAMPLE_GAP].max - d->filling->json[SAMPLE_GAP].len - 60;
	assert_true(batch_add(d->filling, &gap));
	assert_true(deliver_add(d, &too_much));
	assert_true(outbox_is_empty(d->outbox, true));
	assert_int_equal(fake.reconnects, 1);
	assert_false(add_line(1, 10, 20));      /* nothing is read past it */
	let_flush_come();
	assert_int_equal(fake.sends, 0);
	connect_at(0);                          /* the log is read again */
	assert_int_equal(seen.positions, 2);
	assert_true(add_line(1, 0, 10) && deliver_add(d, &too_much));
	let_flush_come();
	assert_int_equal(fake.sends, 1);
	commit();
	assert_true(deliver_idle(d));
	assert_int_equal(d->state.rows[SAMPLE_GAP], 1);
}

static void lost_history_is_read_again_and_metrics_are_kept(void **state)
{
	struct sample m = metric();

	(void)state;
	connect_at(7);
	assert_true(add_line(1, 0, 10) && deliver_add(d, &m));
	let_flush_come();
	lose(PG_RETRY);
	connect_at(3);
	assert_int_equal(seen.positions, 2);
	assert_int_equal(fake.seq, 4);
	assert_int_equal(fake.logs, 0);
	assert_int_equal(fake.metrics, 1);
}

static void an_empty_flush_does_not_cancel_the_next(void **state)
{
	(void)state;
	connect_at(7);
	lose(PG_RETRY);
	assert_true(add_line(1, 0, 10));
	let_flush_come();               /* due, and nobody to send to */
	connect_at(3);                  /* history is lost: read the line again */
	assert_int_equal(fake.sends, 0);
	assert_true(add_line(1, 0, 10));
	let_flush_come();
	assert_int_equal(fake.sends, 1);
	assert_int_equal(fake.seq, 4);
}

static void idle_streams_make_room_and_do_not_stall(void **state)
{
	struct position p = { .from = 5, .to = 5, .file_id = "8:1/1:ab" };

	(void)state;
	connect_at(0);
	for (p.stream_id = 1; p.stream_id <= BATCH_STREAMS_MAX - BATCH_STREAMS_SPARE; p.stream_id++)
		assert_true(deliver_set_position(d, &p));
	assert_false(deliver_set_position(d, &p));
	let_flush_come();
	assert_int_equal(seen.resumed, 1);
	assert_int_equal(fake.sends, 0);
	assert_true(add_line(p.stream_id, 5, 10));
	let_flush_come();
	assert_int_equal(fake.sends, 1);
	assert_int_equal(fake.logs, 1);
}

/* 10 s behind the state that was sent last, however long the machine stood still since. */
static void assert_next_news_due(void)
{
	assert_in_range(d->flush_at_us, d->report.sent_us + 10 * US_PER_S, mono_us() + 10 * US_PER_S);
}

/* The agent reports a problem to the database at once, not with the next metrics, which may be an hour away.
 * */
static void a_worse_state_is_sent_at_once_but_not_often(void **state)
{
	int64_t before_us;

	(void)state;
	connect_at(0);
	before_us = mono_us();
	deliver_tell_state(d);
	assert_in_range(d->flush_at_us, before_us, mono_us() + 2 * US_PER_S);
	let_flush_come();
	assert_int_equal(fake.sends, 1);
	assert_true(fake.state);
	commit();
	deliver_tell_state(d);
	assert_next_news_due();
	assert_true(add_line(1, 0, 10));        /* a line neither waits for it nor sends it early */
	let_flush_come();
	assert_int_equal(fake.sends, 2);
	assert_false(fake.state);
	commit();
	assert_next_news_due();
	d->report.sent_us -= 10 * US_PER_S;
	let_flush_come();
	assert_int_equal(fake.sends, 3);
	assert_true(fake.state);
	commit();
	assert_int_equal(d->flush_at_us, 0);
}

/* The next metrics, so many seconds after the state was sent: does it go with them? */
static bool state_goes_after(int seconds)
{
	struct sample s = metric();

	d->report.sent_us = mono_us() - seconds * US_PER_S;
	assert_true(deliver_add(d, &s));
	let_flush_come();
	commit();
	return fake.state;
}

static void the_state_is_sent_seldom_while_nothing_happens(void **state)
{
	struct sample good = { .kind = SAMPLE_CHECK, .timestamp_us = 1 };
	struct sample changed = good;

	(void)state;
	changed.check.changed = true;
	connect_at(0);
	assert_true(state_goes_after(3600));
	assert_true(deliver_add(d, &good));
	assert_false(state_goes_after(600));
	assert_true(state_goes_after(3600));
	assert_true(add_line(1, 0, 10));
	assert_true(state_goes_after(600));
	assert_false(state_goes_after(600));
	assert_true(deliver_add(d, &changed));
	assert_true(state_goes_after(600));
}

static void a_state_that_became_worse_in_an_outage_is_sent_first(void **state)
{
	(void)state;
	deliver_tell_state(d);
	let_flush_come();               /* nobody to send to */
	connect_at(0);
	assert_int_equal(fake.sends, 1);
	assert_true(fake.state);
}

static void a_state_that_cannot_be_printed_is_not_retried_in_a_loop(void **state)
{
	(void)state;
	has_state = false;
	connect_at(0);
	deliver_tell_state(d);
	let_flush_come();
	commit();
	let_flush_come();
	assert_in_range(fake.sends, 0, 1);
}

static void a_change_of_the_units_status_is_sent(void **state)
{
	(void)state;
	connect_at(0);
	assert_int_equal(seen.changed, 1);
	assert_true(add_line(1, 0, 10));
	let_flush_come();
	commit();
	assert_int_equal(seen.changed, 2);      /* the first commit */
	assert_true(add_line(1, 10, 20));
	let_flush_come();
	commit();
	assert_int_equal(seen.changed, 2);
	lose(PG_RETRY);
	assert_int_equal(seen.changed, 3);
}

static void a_source_that_asks_again_gets_the_positions(void **state)
{
	struct sample m = metric();

	(void)state;
	connect_at(0);
	assert_true(add_line(1, 0, 10) && deliver_add(d, &m));
	let_flush_come();
	deliver_ask(d);
	assert_int_equal(fake.reconnects, 1);
	connect_at(1);                  /* it was committed */
	assert_int_equal(seen.committed_metrics, 1);
	assert_int_equal(seen.positions, 2);
	assert_true(deliver_idle(d));
}

static void a_refusal_of_positions_asks_again_and_being_fenced_ends(void **state)
{
	(void)state;
	connect_at(0);
	assert_true(add_line(1, 0, 10));
	let_flush_come();
	lose(PG_MOVED);
	connect_at(0);
	assert_int_equal(seen.positions, 2);
	assert_true(deliver_idle(d));
	lose(PG_FENCED);
	assert_int_equal(seen.fenced, 1);
}

static void a_refused_row_is_found_and_becomes_a_reject(void **state)
{
	enum { LINES = 100, BAD = 37 };
	int64_t next = 0, refused = 0, committed = 0;

	(void)state;
	connect_at(0);
	for (int rounds = 0; next < LINES && rounds < 1000; rounds++) {
		int64_t at = next;

		while (at < LINES && add_line(1, at, at + 1))
			at++;
		let_flush_come();
		if (next <= BAD && BAD < at && fake.rejects == 0) {     /* the server refuses line 37 */
			lose(PG_DATA);
			refused++;
			connect_at(committed);
			continue;
		}
		assert_int_equal(fake.logs + fake.rejects, at - next);
		next = at;
		committed = fake.seq;
		commit();
	}
	assert_int_equal(next, LINES);
	assert_in_range(refused, 7, 16);
	assert_int_equal(seen.committed_logs, LINES - 1);
	assert_int_equal(deliver_state(d).rows[SAMPLE_REJECT], 1);
	assert_int_equal(d->poison.offset, BAD);
	assert_string_equal(d->poison.sqlstate, "22021");
	assert_in_range(d->limit, 2, NO_LIMIT);
}

/* The second refusal must not clear the first. */
static void two_refused_rows_in_a_row_both_become_rejects(void **state)
{
	int64_t committed = 0, next = 0;

	(void)state;
	connect_at(0);
	for (int rounds = 0; next < 4 && rounds < 100; rounds++) {
		int64_t at = next;

		while (at < 4 && add_line(1, at, at + 1))
			at++;
		let_flush_come();
		/* 1 and 2 are bad */
		if (fake.logs > 0 && next < 3 && at > 1 && !(at == 2 && next == 1 && fake.rejects)) {
			lose(PG_DATA);
			connect_at(committed);
			continue;
		}
		next = at;
		committed = fake.seq;
		commit();
	}
	assert_int_equal(next, 4);
	assert_int_equal(deliver_state(d).rows[SAMPLE_REJECT], 2);
	assert_int_equal(seen.committed_logs, 2);
}

static void a_refused_sample_becomes_a_reject_too(void **state)
{
	struct sample m = metric();

	(void)state;
	connect_at(0);
	assert_true(deliver_add(d, &m) && deliver_add(d, &m) && add_line(1, 0, 10));
	let_flush_come();
	assert_int_equal(fake.logs + fake.metrics, 3);
	lose(PG_DATA);
	connect_at(0);
	assert_int_equal(fake.metrics, 1);      /* the outbox first, one of three rows */
	lose(PG_DATA);
	assert_false(add_line(1, 0, 10));       /* lines wait meanwhile */
	connect_at(0);
	assert_int_equal(fake.metrics, 0);
	assert_int_equal(fake.rejects, 1);
	commit();
	assert_int_equal(fake.metrics, 1);
	commit();
	assert_true(seen.resumed > 0 && add_line(1, 0, 10));
	let_flush_come();
	assert_int_equal(fake.logs, 1);
	commit();
	assert_true(deliver_idle(d));
	assert_int_equal(deliver_state(d).outbox.samples, 0);
}

static void a_batch_that_is_too_large_is_sent_in_parts_without_rejects(void **state)
{
	(void)state;
	connect_at(0);
	assert_true(add_line(1, 0, 1) && add_line(1, 1, 2));
	let_flush_come();
	lose(PG_TOO_MUCH);
	connect_at(0);
	assert_true(add_line(1, 0, 1));
	assert_false(add_line(1, 1, 2));
	let_flush_come();
	assert_int_equal(fake.logs, 1);
	lose(PG_TOO_MUCH);              /* even one: try again, later */
	connect_at(0);
	assert_int_equal(fake.logs, 1);
	assert_int_equal(fake.rejects, 0);
	assert_string_equal(deliver_state(d).last_error, "gone");
	commit();
	assert_int_equal(seen.committed_logs, 1);
}

static void an_outage_is_reported_when_it_is_over(void **state)
{
	struct sample m = metric();

	(void)state;
	connect_at(0);
	lose(PG_RETRY);
	assert_true(deliver_add(d, &m));
	assert_int_equal(deliver_state(d).outbox.samples, 1);
	d->outage.since_us -= 60 * US_PER_S;
	connect_at(0);
	assert_int_equal(deliver_state(d).outage.samples, 1);
	assert_int_equal(deliver_state(d).away_since_us, 0);
}

static void the_last_batch_says_that_the_outbox_is_over(void **state)
{
	struct sample m = metric();

	(void)state;
	connect_at(0);
	assert_true(deliver_add(d, &m));
	let_flush_come();
	commit();
	assert_true(deliver_idle(d));
	deliver_finish(d);
	assert_false(deliver_idle(d));
	let_flush_come();
	assert_int_equal(fake.sends, 2);
	assert_int_equal(fake.n_sent, 1);
	assert_true(fake.sent[0].finished);
	commit();
	assert_true(deliver_idle(d));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(a_batch_is_sent_and_the_next_waits_for_its_answer),
		TEST(a_lost_answer_of_a_commit_is_not_sent_again),
		TEST(a_batch_that_did_not_commit_is_sent_again_as_it_was),
		TEST(a_gap_that_has_no_room_is_stored_once),
		TEST(lost_history_is_read_again_and_metrics_are_kept),
		TEST(an_empty_flush_does_not_cancel_the_next),
		TEST(idle_streams_make_room_and_do_not_stall),
		TEST(a_worse_state_is_sent_at_once_but_not_often),
		TEST(the_state_is_sent_seldom_while_nothing_happens),
		TEST(a_state_that_became_worse_in_an_outage_is_sent_first),
		TEST(a_state_that_cannot_be_printed_is_not_retried_in_a_loop),
		TEST(a_change_of_the_units_status_is_sent),
		TEST(a_source_that_asks_again_gets_the_positions),
		TEST(a_refusal_of_positions_asks_again_and_being_fenced_ends),
		TEST(a_refused_row_is_found_and_becomes_a_reject),
		TEST(two_refused_rows_in_a_row_both_become_rejects),
		TEST(a_refused_sample_becomes_a_reject_too),
		TEST(a_batch_that_is_too_large_is_sent_in_parts_without_rejects),
		TEST(an_outage_is_reported_when_it_is_over),
		TEST(the_last_batch_says_that_the_outbox_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
