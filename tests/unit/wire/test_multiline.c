/* Lines of plain text that belong to one record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "wire/log/multiline.c"

struct example {
	const char *record;             /* one record */
	const char *next;               /* the next record; NULL: none yet */
};

/* In a file of which nothing is known yet. */
static size_t record(struct text t, bool *ret_open)
{
	static const struct multiline nothing;
	struct multiline_room room;
	size_t n;

	multiline_room_init(&room);
	room.clock.now_us = INT64_C(1795228754000000);
	n = multiline_record(&nothing, &room, t, ret_open);
	multiline_room_free(&room);
	return n;
}

static void expect(const struct example *x)
{
	char text[4096];
	bool open;
	size_t n;

	snprintf(text, sizeof text, "%s\n%s", x->record, x->next ? x->next : "");
	n = record((struct text){ text, strlen(text) }, &open);
	if (n != strlen(x->record) || open != !x->next)
		fail_msg("%zu of %zu bytes, %s:\n%s", n, strlen(x->record), open ? "open" : "closed", text);
}

static void traces_belong_to_the_line_before_them(void **state)
{
	static const struct example examples[] = {
		{ "one", "two\n" },
		{ "one", NULL },
		{ "one\n  indented\n\tand more", "two\n" },
		{ "ERROR no\njava.lang.IllegalStateException: boom\n\tat a.B.c(B.java:1)\n\t... 12 "
		  "more\nCaused by: x\n\tat d",
		  "INFO two\n" },
		{ "Exception in thread \"main\" java.lang.Error\n\tat a.B.c(B.java:1)",
		  "{\"message\":\"two\"}\n" },
		{ "ERROR no\nTraceback (most recent call last):\n  File \"a.py\", line 1\n    "
		  "x()\nValueError: bad",
		  "INFO two\n" },
		{ "Traceback (most recent call last):\n  File \"a\"\nKeyError: 1\n\nDuring handling of the "
		  "above exception, another "
		  "exception occurred:\n\nTraceback (most recent call last):\n  File \"b\"\nValueError: 2",
		  "INFO two\n" },
		{ "Traceback (most recent call last):\n  File \"a\"\nKeyError: 1",
		  "Traceback (most recent call last):\n  File \"b\"\nKeyError: 2\n" },
		{ "panic: oh\n\ngoroutine 1 [running]:\nmain.main()\n\t/a.go:3 +0x1\ncreated by "
		  "main.x\n\t/b.go:4\nexit status 2",
		  "INFO two\n" },
		{ "one\r\n\tat x\r", "two\r\n" },
		/* java.util.logging: the level is on the second line */
		{ "Nov 20, 2026 12:00:00 PM com.example.Shop pay\nSEVERE: failed\njava.lang.Error: x\n\tat "
		  "a.B.c(B.java:1)",
		  "Nov 20, 2026 12:00:01 PM com.example.Shop pay\n" },
		{ "Nov 20, 2026 12:00:00 PM Shop pay\nINFO: ok", "Nov 20, 2026 12:00:01 PM Shop pay\n" },
		{ "2026/11/20 12:00:00 shop started", "ERROR: no route\n" },
		/* what a line with a colon at its end announces */
		{ "thread 'main' panicked at src/main.rs:2:5:\nboom\nnote: run with `RUST_BACKTRACE=1` "
		  "environment "
		  "variable to display a backtrace",
		  "two\n" },
		{ "Unhandled exception:\nException: boom\n#0      main (file:///srv/a.dart:2:3)", "two\n" },
		/* Elixir, Erlang */
		{ "12:00:00.123 [error] GenServer Shop terminating\n** (RuntimeError) boom\n    "
		  "lib/shop.ex:3: Shop.pay/1\n"
		  "Last message: :pay",
		  "12:00:01.123 [info] ok\n" },
		{ "2026-11-20T12:00:00.123456+00:00 error: ** Generic server shop terminating\n** Last "
		  "message in was "
		  "pay\n** When Server state == []",
		  "2026-11-20T12:00:01.123456+00:00 info: ok\n" },
		{ "=CRASH REPORT==== 20-Nov-2026::12:00:00.123456 ===\n  crasher:\n    pid: <0.1.0>",
		  "=INFO REPORT==== 20-Nov-2026::12:00:01 ===\n" },
		/* a time, and the message on the next lines: Oracle, Db2, Samba */
		{ "2026-11-20T12:00:00.123456+00:00\nORA-00600: internal error code\nErrors in file "
		  "/u01/x.trc",
		  "2026-11-20T12:00:01.123456+00:00\n" },
		{ "2026-11-20-12.00.00.123456+000 I1234E567             LEVEL: Error\nPID     : "
		  "4711\nMESSAGE : failed",
		  "2026-11-20-12.00.01.123456+000 I1234E568             LEVEL: Error\n" },
		{ "[2026/11/20 12:00:00.123456,  0] ../../source3/smbd/server.c:1789(main)\n  smbd started.",
		  "[2026/11/20 12:00:01.123456,  0] ../../source3/smbd/server.c:1789(main)\n" },
		/* an access log within an error log: gunicorn writes both */
		{ "[2026-11-20 12:00:00 +0000] [4711] [INFO] started",
		  "127.0.0.1 - - [20/Nov/2026:12:00:00 +0000] \"GET /x HTTP/1.1\" 500 12\n" },
		/* a part of a wrapped line is continued by another wrapped one only */
		{ "2026-11-21T02:39:13.758088984Z stdout P a\n2026-11-21T02:39:13.758088985Z stdout F b",
		  "2026-11-21T02:39:13.758088986Z stdout F c\n" },
		{ "2026-11-21T02:39:13.758088984Z stdout P a", "two\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
		expect(&examples[i]);
}

static void an_unfinished_line_tells_when_it_can(void **state)
{
	static const struct example examples[] = {
		{ "one", "{\"mess" },                                   /* JSON is never joined */
		{ "one\n\tat x", "  {\"message\":1}" },
	};
	char text[1024];
	bool open;

	(void)state;
	for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
		expect(&examples[i]);
	assert_int_equal(record(TEXT("one\n\tat x\nCau"), &open), strlen("one\n\tat x"));
	assert_true(open);
	snprintf(text, sizeof text, "one\n%0300d", 7);
	assert_int_equal(record(text_of(text), &open), strlen("one"));
	assert_false(open);
}

/* `lines` of `width` bytes each, newline included. */
static size_t indented_lines(char *to, int lines, int width)
{
	for (int i = 0; i < lines; i++) {
		memset(to + (size_t)i * (size_t)width, ' ', (size_t)width - 2);
		memcpy(to + (size_t)(i + 1) * (size_t)width - 2, "x\n", 2);
	}
	return (size_t)lines * (size_t)width;
}

/* Blanks are judged only when their line has ended: what lies behind it is not read. */
static void an_unfinished_line_of_blanks_keeps_the_record_open(void **state)
{
	static const char *const begins[] = { "one", "ERROR x", "ValueError: x" };

	(void)state;
	for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
		for (int fill = 0; fill < 2; fill++) {
			size_t n = strlen(begins[i]), len = n + 1 + 2 * PREFIX_TELLS;
			char *text = malloc(len); /* with a guard of AddressSanitizer and valgrind */
			bool open;

			memcpy(text, begins[i], n);
			text[n] = '\n';
			memset(text + n + 1, fill ? ' ' : '\x1f', 2 * PREFIX_TELLS);
			assert_int_equal(record((struct text){ text, len }, &open), n);
			assert_true(open);
			free(text);
		}
}

/* They leave the line before it is judged, and what is left of it may be too short to tell. */
static void controls_do_not_count_for_an_unfinished_line(void **state)
{
	static const char begin[] = "one\n[Mon Nov";
	char text[sizeof begin + 2 * PREFIX_TELLS];
	bool open;

	(void)state;
	memset(text, '\a', sizeof text);
	memcpy(text, begin, sizeof begin - 1);
	assert_int_equal(record((struct text){ text, sizeof text }, &open), strlen("one"));
	assert_true(open);
}

/* A call of a Go trace is known by the bracket at its end. */
static void an_unfinished_call_of_a_trace_keeps_the_record_open(void **state)
{
	static const char begin[] = "panic: oh\n\ngoroutine 1 [running]:\n";
	char text[sizeof begin + 3 * PREFIX_TELLS];
	size_t len = sizeof begin - 1 + 2 * PREFIX_TELLS;
	bool open;

	(void)state;
	memset(text, 'x', sizeof text);
	memcpy(text, begin, sizeof begin - 1);
	assert_int_equal(record((struct text){ text, len }, &open), sizeof begin - 2);
	assert_true(open);
	memcpy(text + len, "(0x1)\ntwo\n", 10);
	assert_int_equal(record((struct text){ text, len + 10 }, &open), len + 5);
	assert_false(open);
}

static void a_record_is_bounded(void **state)
{
	char *text = malloc(4 * RECORD_BYTES_MAX);
	size_t n = indented_lines(text, 2000, 10), len;
	bool open;

	(void)state;
	len = record((struct text){ text, n }, &open);
	assert_false(open);
	assert_int_equal(len, RECORD_LINES_MAX * 10 - 1);
	n = indented_lines(text, 200, 1000);
	len = record((struct text){ text, n }, &open);
	assert_false(open);
	assert_in_range(len, RECORD_BYTES_MAX - 1000, RECORD_BYTES_MAX);
	free(text);
}

/* With multiline_start, or in a raw file. */
static void expect_configured(const char *pattern, bool raw, const char *text, size_t want, bool want_open)
{
	static const struct multiline nothing;
	struct line_start *start = NULL;
	struct multiline_room room;
	struct err e;
	bool open;
	size_t n;

	multiline_room_init(&room);
	if (pattern && line_start_compile(&start, pattern, &e) < 0)
		fail_msg("%s", e.msg);
	room.start = start;
	room.raw = raw;
	n = multiline_record(&nothing, &room, text_of(text), &open);
	if (n != want || open != want_open)
		fail_msg("%zu of %zu bytes, %s:\n%s", n, want, open ? "open" : "closed", text);
	multiline_room_free(&room);
	line_start_free(start);
}

static void a_configured_beginning_decides_alone(void **state)
{
	static const char cri[] = "2026-11-30T12:00:00Z stdout ",
			  two[] = "BEGIN 1\n{\"a\":1}\n\n2026-11-30 12:00:00 x";
	char text[4096];

	(void)state;
	snprintf(text, sizeof text, "%s\nBEGIN 2\n", two);
	expect_configured("^BEGIN", false, text, strlen(two), false);
	expect_configured("^BEGIN", true, text, strlen(two), false);
	expect_configured("^BEGIN", false, two, strlen("BEGIN 1\n{\"a\":1}"), true);
	expect_configured("^BEGIN", false, "\tat x\nBEG", strlen("\tat x"), true);
	expect_configured("^BEGIN", false, "BEGIN 1\n\033[31mBEGIN\033[m 2\n", strlen("BEGIN 1"), false);
	expect_configured("^BEGIN", true, "BEGIN 1\n\033[31mBEGIN\033[m 2\nBEGIN 3\n",
			  strlen("BEGIN 1\n\033[31mBEGIN\033[m 2"), false);
	snprintf(text, sizeof text, "%sF BEGIN 1\n%sF more\n%sF BEGIN 2\n", cri, cri, cri);
	expect_configured("^BEGIN", false, text, 2 * strlen(cri) + strlen("F BEGIN 1\nF more"), false);
	snprintf(text, sizeof text, "%sP BEGIN 1\n%sF BEGIN in its middle\n%sF BEGIN 2\n", cri, cri, cri);
	expect_configured("^BEGIN", false, text, 2 * strlen(cri) + strlen("P BEGIN 1\nF BEGIN in its middle"),
			  false);
	snprintf(text, sizeof text, "BEGIN 1\nBEGIN %02000d", 7);
	expect_configured("^BEGIN", false, text, strlen("BEGIN 1"), false);
}

/* Each is a record: what follows it is not looked at. */
static void blank_lines_cost_little(void **state)
{
	static const char *const lines[] = {
		" \n", "{\"log\":\" \\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T02:39:13Z\"}\n",
	};
	static const struct multiline nothing;
	static char text[1 << 20];
	struct multiline_room room;
	struct line_start *start = NULL;
	struct err e;

	(void)state;
	multiline_room_init(&room);
	room.clock.now_us = INT64_C(1795228754000000);
	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(lines[i % 2]), len = 0;
		clock_t begin = clock();
		bool open;

		for (; len + n <= sizeof text; len += n)
			memcpy(text + len, lines[i % 2], n);
		for (struct text t = { text, len }; t.len > 0; t = text_after(t, n))
			assert_int_equal(multiline_record(&nothing, &room, t, &open) + 1, n);
		assert_in_range((clock() - begin) / (CLOCKS_PER_SEC / 1000), 0, 2000);
		if (i == 1)
			assert_int_equal(line_start_compile(&start, "^#", &e), 0);
		room.start = start;
	}
	line_start_free(start);
	multiline_room_free(&room);
}

static void in_a_raw_file_each_line_is_a_record(void **state)
{
	(void)state;
	expect_configured(NULL, true, "ERROR no\n\tat a.B.c(B.java:1)\n", strlen("ERROR no"), false);
	expect_configured(NULL, true, "one\n", strlen("one"), false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(traces_belong_to_the_line_before_them),
		cmocka_unit_test(an_unfinished_line_tells_when_it_can),
		cmocka_unit_test(an_unfinished_line_of_blanks_keeps_the_record_open),
		cmocka_unit_test(controls_do_not_count_for_an_unfinished_line),
		cmocka_unit_test(an_unfinished_call_of_a_trace_keeps_the_record_open),
		cmocka_unit_test(a_record_is_bounded),
		cmocka_unit_test(a_configured_beginning_decides_alone),
		cmocka_unit_test(in_a_raw_file_each_line_is_a_record),
		cmocka_unit_test(blank_lines_cost_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
