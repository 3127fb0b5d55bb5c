/* Which batch is sent when, and what is done when the answer is missing; the connection is a fake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../obs_agent/deliver.c"

/* ---- a connection that only notes what it is given ---- */

struct pg {
	const struct pg_events *events;
	void *data;
	bool ready;
	int sends, reconnects;
	int64_t seq;
	size_t logs, metrics;           /* of what was sent last */
};

static struct pg fake;

int pg_new(sd_event *loop, const struct config *c, struct logcore *log, int64_t spread_us,
	   const struct pg_events *events, void *data, struct pg **ret, struct err *e)
{
	(void)loop;
	(void)c;
	(void)log;
	(void)spread_us;
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
	(void)state;
	p->ready = false;
	p->sends++;
	p->seq = b->seq;
	p->logs = b->n_logs;
	p->metrics = b->n_metrics;
}

void pg_reconnect(struct pg *p)
{
	p->ready = false;
	p->reconnects++;
}

int64_t pg_skew_us(const struct pg *p)
{
	(void)p;
	return 0;
}

static void connect_at(int64_t last_seq)
{
	struct pg_hello hello = { .last_seq = last_seq };

	fake.ready = true;
	fake.events->ready(fake.data, &hello);
}

static void commit(void)
{
	fake.ready = true;
	fake.events->committed(fake.data);
}

static void lose(enum pg_verdict verdict)
{
	struct err e;

	err_set(&e, ECONNABORTED, "gone");
	fake.ready = false;
	fake.events->lost(fake.data, verdict, &e);
}

/* ---- what deliver.c calls ---- */

struct seen {
	int positions, rooms, fenced;
	size_t committed_logs, committed_metrics;
};

static void on_seen_positions(void *data, const struct position *p, size_t n)
{
	(void)p;
	(void)n;
	((struct seen *)data)->positions++;
}

static void on_seen_committed(void *data, const struct batch *b)
{
	((struct seen *)data)->committed_logs += b->n_logs;
	((struct seen *)data)->committed_metrics += b->n_metrics;
}

static void on_seen_room(void *data)
{
	((struct seen *)data)->rooms++;
}

static void on_seen_fenced(void *data)
{
	((struct seen *)data)->fenced++;
}

static bool no_state(void *data, struct buf *out)
{
	(void)data;
	(void)out;
	return false;
}

static struct seen seen;
static struct deliver *d;
static sd_event *loop;

static int begin(void **state)
{
	static const struct deliver_events events = { on_seen_positions, on_seen_committed, on_seen_room,
						      on_seen_fenced, no_state };
	static struct config config = { .interval_us = 10 * US_PER_S };
	struct err e;

	(void)state;
	seen = (struct seen){ 0 };
	return sd_event_new(&loop) < 0 || deliver_new(loop, &config, NULL, 0, &events, &seen, &d, &e) < 0 ? -1 : 0;
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
	struct position p = { .stream_id = stream, .from = from, .to = from };
	struct sample s = line(stream, from);

	if (!deliver_advance(d, &p) || !deliver_add(d, &s))
		return false;
	p.to = to;
	return deliver_advance(d, &p);
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

static void a_flush_of_nothing_does_not_swallow_the_next(void **state)
{
	(void)state;
	connect_at(7);
	lose(PG_RETRY);
	assert_true(add_line(1, 0, 10));
	let_flush_come();               /* due, and nobody to send to */
	connect_at(3);                  /* history is lost: the line is to be read again */
	assert_int_equal(fake.sends, 0);
	assert_true(add_line(1, 0, 10));
	let_flush_come();
	assert_int_equal(fake.sends, 1);
	assert_int_equal(fake.seq, 4);
}

static void streams_that_do_not_move_make_room_and_do_not_stall(void **state)
{
	struct position p = { .from = 5, .to = 5 };

	(void)state;
	connect_at(0);
	for (p.stream_id = 1; p.stream_id <= BATCH_STREAMS_MAX; p.stream_id++)
		assert_true(deliver_advance(d, &p));
	assert_false(deliver_advance(d, &p));
	let_flush_come();
	assert_int_equal(seen.rooms, 1);
	assert_int_equal(fake.sends, 0);
	assert_true(add_line(p.stream_id, 5, 10));
	let_flush_come();
	assert_int_equal(fake.sends, 1);
	assert_int_equal(fake.logs, 1);
}

static void who_asks_again_is_told_positions_though_nothing_moved(void **state)
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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(a_batch_is_sent_and_the_next_waits_for_its_answer),
		TEST(a_lost_answer_of_a_commit_is_not_sent_again),
		TEST(a_batch_that_did_not_commit_is_sent_again_as_it_was),
		TEST(lost_history_is_read_again_and_metrics_are_kept),
		TEST(a_flush_of_nothing_does_not_swallow_the_next),
		TEST(streams_that_do_not_move_make_room_and_do_not_stall),
		TEST(who_asks_again_is_told_positions_though_nothing_moved),
		TEST(a_refusal_of_positions_asks_again_and_being_fenced_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
