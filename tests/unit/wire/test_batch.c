/* The batch: all or nothing, bounded, and in the form that PostgreSQL reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "wire/batch.c"

static struct sample log_line(int64_t stream, int64_t offset, struct text message)
{
	return (struct sample){ .kind = SAMPLE_LOG, .timestamp_us = PG_EPOCH_US + 1,
				.log = { .stream_id = stream, .offset = offset, .level = LEVEL_ERROR,
					 .message = message } };
}

static struct position at(int64_t stream, int64_t position)
{
	return (struct position){ .stream_id = stream, .from = position, .to = position, .path = "/a" };
}

static uint32_t be32(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return __builtin_bswap32(v);
}

/* Add a row like the outbox. */
static bool add_record(struct batch *b, const struct sample *s, bool late, int64_t offset)
{
	struct buf row = BUF(4096);
	bool ok = row_add(&row, s);
	struct record r = { .kind = s->kind, .timestamp_us = s->timestamp_us, .late = late,
			    .row = { row.data, row.len } };

	ok = ok && batch_add_record(b, &r, 1, offset);
	buf_free(&row);
	return ok;
}

/* A sample of each kind, its members that are known. */
static struct sample sample_of(enum sample_kind kind)
{
	struct sample s = { .kind = kind, .timestamp_us = 5 };

	switch (kind) {
	case SAMPLE_METRICS:
		for (int i = 0; i < METRIC_COUNT; i++)
			s.metrics.value[i] = NAN;
		s.metrics.value[METRIC_CPU_PERCENT] = 12.5;
		s.metrics.value[METRIC_MEMORY_MB] = 4096;
		break;
	case SAMPLE_CHECK:
		s.check = (struct check_sample){
			.url = TEXT("http://x/\""), .status_code = 503, .response_ms = 1.5,
			.error = CHECK_STATUS, .error_message = TEXT("503"), .dns_ms = NAN,
			.connect_ms = 0.25, .tls_ms = NAN, .first_byte_ms = 1, .attempts = 3,
			.interval_us = INT64_C(3600000000),
		};
		break;
	case SAMPLE_GAP:
		s.gap = (struct gap_sample){ .kind = "truncated", .lines = -1, .bytes = 10,
					     .detail = TEXT("d") };
		break;
	case SAMPLE_LOG:
		s.log = (struct log_sample){ .offset = 7, .level = LEVEL_INFO, .message = TEXT("m"),
					     .context = TEXT("{\"a\":1}") };
		break;
	default:
		s.reject = (struct reject_sample){ 9, 77, "22021", "why", TEXT("raw") };
	}
	return s;
}

static void each_kind_has_one_writer_for_the_database_and_for_people(void **state)
{
	static const struct { const char *name, *row, *table, *printed; } rows[SAMPLE_KIND_COUNT] = {
		[SAMPLE_METRICS] = {
			"metrics", ",0,12.5,null,4096",
			"vps_metrics", "\"cpu_percent\":12.5,\"memory_mb\":4096" },
		[SAMPLE_CHECK] = {
			"checks",
			",\"http://x/\\\"\",503,1.5,3,3600,1,0.25,null,null,null,\"status\",\"503\"",
			"health_checks", "\"url\":\"http://x/\\\"\",\"status_code\":503,"
			"\"response_time_ms\":1.5,\"success\":false,\"attempts\":3,\"interval_s\":3600,"
			"\"first_byte_ms\":1,\"connect_ms\":0.25,\"error_class\":\"status\","
			"\"error_message\":\"503\"" },
		[SAMPLE_GAP] = {
			"gaps", ",null,\"truncated\",null,10,\"d\"",
			"gaps", "\"kind\":\"truncated\",\"bytes\":10,\"detail\":\"d\"" },
		[SAMPLE_LOG] = {
			"logs", "",
			"log_entries", "\"level\":\"INFO\",\"message\":\"m\",\"context\":{\"a\":1},"
			"\"offset\":7" },
		[SAMPLE_REJECT] = {
			"rejects", ",9,77,\"22021\",\"why\",\"cmF3\"",
			"rejects", "\"stream_id\":9,\"stream_offset\":77,\"sqlstate\":\"22021\","
			"\"reason\":\"why\",\"raw\":\"cmF3\"" },
	};
	char line[500];

	(void)state;
	for (int i = 0; i < SAMPLE_KIND_COUNT; i++) {
		struct sample s = sample_of((enum sample_kind)i);
		struct buf row = BUF(1000), printed = BUF(1000);

		assert_string_equal(row_kinds[i].name, rows[i].name);
		assert_true(i == SAMPLE_LOG || row_add(&row, &s));
		assert_string_equal(buf_cstr(&row), rows[i].row);
		assert_true(row_print(&printed, &s));
		snprintf(line, sizeof line,
			 "{\"table\":\"%s\",\"timestamp\":\"1970-01-01T00:00:00.000005Z\",%s}\n",
			 rows[i].table, rows[i].printed);
		assert_string_equal(buf_cstr(&printed), line);
		buf_free(&row);
		buf_free(&printed);
	}
}

/* Four digits and two decimals are enough; whole numbers are whole, and none becomes what JSON lacks. */
static void a_number_is_as_short_as_it_is_worth(void **state)
{
	static const struct { double value; const char *row; } rows[] = {
		{ 0, ",0,0" }, { 0.05028, ",0,0.05" }, { 7.136, ",0,7.14" }, { 99.996, ",0,100" },
		{ 123.456, ",0,123.5" }, { 9876, ",0,9876" }, { 12345.6, ",0,12346" },
		{ 9687471, ",0,9687471" },
		{ -0.126, ",0,-0.13" }, { 1e15, ",0,1000000000000000" }, { (double)INFINITY, ",0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sample s = { .kind = SAMPLE_METRICS };
		struct buf row = BUF(1000);

		for (int m = 0; m < METRIC_COUNT; m++)
			s.metrics.value[m] = m == 0 ? rows[i].value : NAN;
		assert_true(row_add(&row, &s));
		assert_string_equal(buf_cstr(&row), rows[i].row);
		buf_free(&row);
	}
}

static void rows_of_all_kinds_go_in_their_order(void **state)
{
	struct sample m = sample_of(SAMPLE_METRICS), c = sample_of(SAMPLE_CHECK), g = sample_of(SAMPLE_GAP);
	struct buf out = BUF(1000);
	struct batch b;
	size_t len;

	(void)state;
	batch_init(&b);
	assert_true(batch_empty(&b) && batch_json(&b, &out));
	assert_int_equal(out.len, 0);
	assert_true(add_record(&b, &m, false, 0) && add_record(&b, &c, false, 1) &&
		    add_record(&b, &g, false, 2));
	m.metrics.details = TEXT("{\"a\":1}");
	assert_true(add_record(&b, &m, true, 3));
	g.gap.stream_id = 4;
	assert_true(batch_add(&b, &g));
	assert_true(batch_json(&b, &out));
	assert_string_equal(buf_cstr(&out),
			    ",[[5,0,0,12.5,null,4096],[5,1,{\"a\":1},12.5,null,4096]],"
			    "[[5,0,\"http://x/\\\"\",503,1.5,3,3600,1,0.25,null,null,null,\"status\","
			    "\"503\"]],"
			    "[[5,null,\"truncated\",null,10,\"d\"],[5,4,\"truncated\",null,10,\"d\"]]");
	assert_int_equal(b.n[SAMPLE_METRICS], 2);
	assert_int_equal(batch_all_rows(&b), 5);
	assert_int_equal(batch_rows(&b), 4);            /* the server cannot refuse the gap of a log */
	assert_int_equal(b.n_samples, 3);
	len = b.json_bytes;
	assert_int_equal(len, b.json[SAMPLE_METRICS].len + b.json[SAMPLE_CHECK].len + b.json[SAMPLE_GAP].len);
	batch_reset(&b);
	assert_true(batch_empty(&b));
	assert_int_equal(b.json_bytes, 0);
	buf_free(&out);
	batch_free(&b);
}

static void a_row_without_room_leaves_the_others_whole(void **state)
{
	struct sample g = sample_of(SAMPLE_GAP);
	struct buf out = BUF(1000);
	struct batch b;

	(void)state;
	batch_init(&b);
	b.json[SAMPLE_GAP].max = 40;
	assert_true(batch_add(&b, &g));
	assert_false(batch_add(&b, &g));
	assert_int_equal(b.n[SAMPLE_GAP], 1);
	assert_true(batch_json(&b, &out));
	assert_string_equal(buf_cstr(&out), ",0,0,[[5,null,\"truncated\",null,10,\"d\"]]");
	buf_free(&out);
	batch_free(&b);
}

static void a_refused_row_becomes_a_reject_with_its_bytes(void **state)
{
	static const char raw[] = "\0\377bytes";
	struct poison poison = { .stream_id = 9, .offset = 77, .sqlstate = "22021", .reason = "why" };
	struct sample s = log_line(9, 77, TEXT("hi"));
	struct position p = at(9, 0);
	struct batch b;

	(void)state;
	batch_init(&b);
	b.poison = &poison;
	s.log.raw = (struct text){ raw, sizeof raw - 1 };
	assert_true(batch_set_position(&b, &p) && batch_add(&b, &s));
	s.log.offset = 84;
	assert_true(batch_add(&b, &s));
	assert_int_equal(b.n[SAMPLE_LOG], 1);
	assert_string_equal(buf_cstr(&b.json[SAMPLE_REJECT]),
			    "[946684800000001,9,77,\"22021\",\"why\",\"AP9ieXRlcw==\"]");
	assert_int_equal(b.first_offset, 84);
	batch_reset(&b);
	assert_int_equal(b.n[SAMPLE_REJECT], 0);
	batch_free(&b);
}

static void log_columns_are_binary_arrays(void **state)
{
	struct sample s = log_line(9, 77, TEXT("hi"));
	struct position p = at(9, 77);
	struct batch b;
	struct text t;

	(void)state;
	batch_init(&b);
	s.log.context = TEXT("{}");
	assert_true(batch_set_position(&b, &p) && batch_add(&b, &s));
	s.log.context = (struct text){ NULL, 0 };
	assert_true(batch_add(&b, &s));
	t = column_array(&b.log[COL_CONTEXT], b.n[SAMPLE_LOG]);
	/* dimensions, has null, type jsonb, length 2, from 1; then 3 bytes and NULL */
	assert_int_equal(t.len, 20 + 4 + 3 + 4);
	assert_int_equal(be32(t.s), 1);
	assert_int_equal(be32(t.s + 4), 1);
	assert_int_equal(be32(t.s + 8), 3802);
	assert_int_equal(be32(t.s + 12), 2);
	assert_int_equal(be32(t.s + 20), 3);
	assert_memory_equal(t.s + 24, "\1{}", 3);
	assert_int_equal(be32(t.s + 27), UINT32_MAX);
	t = column_array(&b.log[COL_TIMESTAMP], b.n[SAMPLE_LOG]);
	assert_int_equal(be32(t.s + 4), 0);
	assert_int_equal(be32(t.s + 28), 1);            /* microseconds since 2000 */
	batch_free(&b);
}

static void a_full_batch_is_unchanged_by_another_sample(void **state)
{
	static char big[BATCH_LOG_BYTES_MAX];
	struct sample s = log_line(1, 0, (struct text){ big, sizeof big - 10 });
	struct position p = at(1, 0);
	struct batch b;
	size_t len;

	(void)state;
	memset(big, 'x', sizeof big);
	batch_init(&b);
	assert_false(batch_add(&b, &s));                /* unknown stream */
	assert_true(batch_set_position(&b, &p) && batch_add(&b, &s));
	len = b.log[COL_MESSAGE].data.len;
	s.log.message.len = 11;
	assert_false(batch_add(&b, &s));
	assert_int_equal(b.log[COL_MESSAGE].data.len, len);
	assert_int_equal(b.n[SAMPLE_LOG], 1);
	s.log.message.len = 10;
	assert_true(batch_add(&b, &s));
	assert_true(batch_full(&b));
	batch_free(&b);
}

static void rows_and_streams_are_limited(void **state)
{
	struct sample s = log_line(1, 0, TEXT("x"));
	struct position p;
	struct batch b;

	(void)state;
	batch_init(&b);
	for (int64_t i = 1; i <= BATCH_STREAMS_MAX; i++) {
		p = at(i, 0);
		assert_true(batch_set_position(&b, &p));
	}
	p = at(BATCH_STREAMS_MAX + 1, 0);
	assert_false(batch_set_position(&b, &p));
	for (int i = 0; i < BATCH_LOG_ROWS_MAX; i++)
		assert_true(batch_add(&b, &s));
	assert_true(batch_full(&b));
	assert_false(batch_add(&b, &s));
	batch_free(&b);
}

static void the_outbox_has_room_that_others_leave(void **state)
{
	struct position p;
	struct batch b;

	(void)state;
	batch_init(&b);
	for (int64_t i = 1; i <= BATCH_STREAMS_MAX - BATCH_STREAMS_SPARE; i++) {
		p = at(i, 0);
		snprintf(p.source, sizeof p.source, "%s", i % 2 ? "tail" : "journal");
		assert_true(batch_set_position(&b, &p));
	}
	p = (struct position){ .stream_id = 1000, .source = "journal" };
	assert_false(batch_set_position(&b, &p));
	p = (struct position){ .stream_id = 1000, .source = SOURCE_OUTBOX };
	assert_true(batch_set_position(&b, &p));
	batch_free(&b);
}

static void a_position_says_whose_it_is_and_where_to_go_on(void **state)
{
	struct position p[] = {
		{ .stream_id = 1, .to = 2, .source = "journal", .cursor = "s=\"1\";i=2" },
		{ .stream_id = 2, .to = 3, .source = SOURCE_OUTBOX },
		{ .stream_id = 3, .to = 4, .source = SOURCE_TAIL, .path = "/a", .finished = true },
	};
	struct buf out = BUF(1000);
	struct batch b;

	(void)state;
	batch_init(&b);
	for (size_t i = 0; i < sizeof p / sizeof *p; i++)
		assert_true(batch_set_position(&b, &p[i]));
	assert_true(batch_positions(&b, &out));
	assert_string_equal(buf_cstr(&out),
			    "[[1,0,2,\"journal\",0,\"\",\"\",\"\",\"\",\"s=\\\"1\\\";i=2\"],"
			    "[2,0,3,\"outbox\"],[3,0,4,\"\",1,\"/a\"]]");
	buf_free(&out);
	batch_free(&b);
}

static void a_source_gets_its_own_positions(void **state)
{
	static const struct position p[] = {
		{ .stream_id = 1, .source = "a" }, { .stream_id = 2, .source = "b" },
		{ .stream_id = 3, .source = "b" }, { .stream_id = 4, .source = "c" },
	};
	static const struct { const char *source; size_t first, n; } rows[] = {
		{ "a", 0, 1 }, { "b", 1, 2 }, { "c", 3, 1 }, { "d", 4, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n;

		assert_ptr_equal(positions_of(p, 4, rows[i].source, &n), p + rows[i].first);
		assert_int_equal(n, rows[i].n);
	}
}

static void a_position_keeps_where_the_batch_began(void **state)
{
	struct position p = at(4, 100);
	struct buf out = BUF(1000);
	struct batch b;

	(void)state;
	batch_init(&b);
	assert_true(batch_set_position(&b, &p));
	assert_true(batch_empty(&b));                   /* known, but not advanced: nothing to commit */
	p = at(4, 150);
	assert_true(batch_set_position(&b, &p));
	p = at(4, 160);
	assert_true(batch_set_position(&b, &p));
	assert_false(batch_empty(&b));
	p = at(5, 3);
	assert_true(batch_set_position(&b, &p));
	p = at(6, 0);
	assert_true(batch_set_position(&b, &p));
	p.to = 9;
	assert_true(batch_set_position(&b, &p));
	assert_true(buf_adds(&out, "before:") && batch_positions(&b, &out));
	assert_string_equal(buf_cstr(&out), "before:[[4,100,160,\"\",0,\"/a\"],[6,0,9,\"\",0,\"/a\"]]");
	batch_reset(&b);
	assert_true(batch_empty(&b));
	buf_free(&out);
	batch_free(&b);
}

static void a_finished_stream_is_reported_even_at_the_same_position(void **state)
{
	struct position p = at(4, 100);
	struct batch b;

	(void)state;
	batch_init(&b);
	p.finished = true;
	assert_true(batch_set_position(&b, &p));
	assert_false(batch_empty(&b));
	batch_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_has_one_writer_for_the_database_and_for_people),
		cmocka_unit_test(a_number_is_as_short_as_it_is_worth),
		cmocka_unit_test(rows_of_all_kinds_go_in_their_order),
		cmocka_unit_test(a_row_without_room_leaves_the_others_whole),
		cmocka_unit_test(a_refused_row_becomes_a_reject_with_its_bytes),
		cmocka_unit_test(log_columns_are_binary_arrays),
		cmocka_unit_test(a_full_batch_is_unchanged_by_another_sample),
		cmocka_unit_test(rows_and_streams_are_limited),
		cmocka_unit_test(the_outbox_has_room_that_others_leave),
		cmocka_unit_test(a_position_says_whose_it_is_and_where_to_go_on),
		cmocka_unit_test(a_source_gets_its_own_positions),
		cmocka_unit_test(a_position_keeps_where_the_batch_began),
		cmocka_unit_test(a_finished_stream_is_reported_even_at_the_same_position),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
