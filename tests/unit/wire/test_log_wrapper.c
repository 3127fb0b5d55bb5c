/* Lines that a container's runtime wrote around another line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/log/log_wrapper.c"

static void what_is_inside_comes_out(void **state)
{
	static const struct {
		const char *line, *inside, *stream;
		bool partial;
	} rows[] = {
		{ "{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-30T06:23:59.5Z\"}", "hello",
		  "stdout", false },
		{ "{\"log\":\"a\\tb\",\"stream\":\"stderr\",\"time\":\"x\"}", "a\tb", "stderr", true },
		{ "{\"log\":\"a\\n\",\"stream\":\"stderr\",\"attrs\":{\"tag\":\"x\"},\"time\":\"x\"}\r", "a",
		  "stderr", false },
		{ "2026-11-30T11:00:00.758088984+05:30 stdout F hello", "hello", "stdout", false },
		{ "2026-11-30T11:00:00.758088984Z stderr P  part", " part", "stderr", true },
		{ "2026-11-30T11:00:00.758088984Z stderr F ", "", "stderr", false },
	};
	struct buf room = BUF(1024);

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct log_wrapper w;

		assert_true(log_wrapper_likely(text_of(rows[i].line)));
		if (!log_wrapper_open(text_of(rows[i].line), &room, &w))
			fail_msg("%s", rows[i].line);
		assert_true(text_eq(w.inside, text_of(rows[i].inside)));
		assert_true(text_eq(w.stream, text_of(rows[i].stream)));
		assert_int_equal(w.partial, rows[i].partial);
	}
	buf_free(&room);
}

static void an_application_s_own_object_is_no_wrapper(void **state)
{
	static const char *const lines[] = {
		"",
		"{\"log\":\"a\"}",
		"{\"log\":\"a\",\"stream\":\"s\"}",
		"{\"log\":\"a\",\"stream\":\"s\",\"time\":\"t\",\"order\":7}",
		"{\"log\":\"a\",\"log\":\"b\",\"stream\":\"s\",\"time\":\"t\"}",
		"{\"log\":\"a\",\"stream\":\"s\",\"time\":\"t\"} x",
		"{\"log\":7,\"stream\":\"s\",\"time\":\"t\"}",
		"2026-11-30T11:00:00.7Z stdout X a",
		"2026-11-30T11:00:00.7Z stdout F",
	};
	struct buf room = BUF(1024);

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct log_wrapper w;

		if (log_wrapper_open(text_of(lines[i]), &room, &w))
			fail_msg("%s", lines[i]);
	}
	buf_free(&room);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_inside_comes_out),
		cmocka_unit_test(an_application_s_own_object_is_no_wrapper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
