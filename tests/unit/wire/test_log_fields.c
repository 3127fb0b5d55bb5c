/* Lines that are all fields: access logs, pairs, columns, CSV. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/parse.h"
#include "wire/log/log_columns.h"
#include "wire/log/log_fields.c"

static struct log_clock clock_now(void)
{
	struct log_clock c = { .zone = NULL };

	assert_true(parse_rfc3339(TEXT("2026-11-30T13:00:00Z"), &c.now_us));
	return c;
}

static void expect_field(const struct log_text *t, const char *name, const char *value)
{
	for (unsigned i = 0; i < t->n; i++)
		if (text_eq(t->field[i].name, text_of(name))) {
			if (!text_eq(t->field[i].value, text_of(value)))
				fail_msg("%s is %.*s", name, (int)t->field[i].value.len, t->field[i].value.s);
			return;
		}
	fail_msg("no %s", name);
}

static void an_access_log_s_status_gives_the_level(void **state)
{
	static const struct {
		const char *line;
		enum log_level level;
		const char *status, *path;
	} rows[] = {
		{ "1.2.3.4 - - [30/Nov/2026:12:00:00 +0000] \"GET /x HTTP/1.1\" 502 157", LEVEL_ERROR, "502",
		  "/x" },
		{ "1.2.3.4 - joe [30/Nov/2026:12:00:00 +0000] \"GET /a\\\"b HTTP/1.1\" 404 -", LEVEL_INFO,
		  "404", "/a\\\"b" },
		{ "localhost:80 ::1 - - [30/Nov/2026:12:00:00 +0000] \"PUT / HTTP/2\" 200 5 \"-\" \"x\"",
		  LEVEL_INFO, "200", "/" },
	};
	struct log_clock c = clock_now();

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct log_text t;

		assert_true(log_fields_access(&c, text_of(rows[i].line), NULL, &t));
		assert_true(t.timed && t.leveled && t.level == rows[i].level);
		expect_field(&t, "status", rows[i].status);
		expect_field(&t, "path", rows[i].path);
	}
}

static void what_is_no_access_log_is_left(void **state)
{
	static const char *const lines[] = {
		"",
		"1.2.3.4",
		"1.2.3.4 - - [",
		"1.2.3.4 - - [30/Nov/2026:12:00:00 +0000]",
		"1.2.3.4 - - [30/Nov/2026:12:00:00 +0000] \"GET /x",
		"1.2.3.4 - - [30/Nov/2026:12:00:00 +0000] \"GET /x\" 20 1",
		"1.2.3.4 - - [30/Nov/2026:12:00:00 +0000] \"GET /x\" 999 1",
		"a b c [not a time] \"GET /x\" 200 1",
	};
	struct log_clock c = clock_now();
	struct log_text t;

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		assert_false(log_fields_access(&c, text_of(lines[i]), NULL, &t));
}

/* All that can be checked must be right; a text that only looks alike keeps its fields to itself. */
static void columns_are_taken_whole_or_not_at_all(void **state)
{
	static const char *const no[] = {
		"",
		"\"",
		"\"GET /x HTTP/1.1\"",
		"\"GET /x HTTP/1.1\" 99",
		"\"get /x HTTP/1.1\" 200",
		"| 500 |",
		"| 600 | 1ms | a | GET /x",
		"10.0.0.1 GET /x - 443 - 1.2.3.4 UA - 700 0 0 12",
		"10.0.0.1:5 [never] f b/s 0/0 200 1 - - ---- 1 0 \"GET / HTTP/1.1\"",
	};
	struct log_clock c = clock_now();

	(void)state;
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		for (int behind_time = 0; behind_time < 2; behind_time++) {
			struct log_text t = { .timed = true, .us = 1 };

			if (log_columns(&c, text_of(no[i]), behind_time, &t))
				fail_msg("%s", no[i]);
			assert_true(t.n == 0 && t.timed && !t.leveled && t.us == 1);
		}
}

static void pairs_need_a_loggers_own(void **state)
{
	static const struct {
		const char *line;
		bool taken, leveled;
	} rows[] = {
		{ "level=warn msg=\"slow\" order=7", true, true },
		{ "ts=2026-11-30T12:00:00Z caller=a.go:1", true, false },
		{ "method=GET path=/x status=500 duration=1", true, true },
		{ "a=1 b=2", false, false },
		{ "level=warn", false, false },
		{ "level=warn and prose", false, false },
		{ "status=error x=1", false, false },
	};
	struct log_clock c = clock_now();

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct log_text t = { .n = 0 };

		if (log_fields_pairs(&c, text_of(rows[i].line), 0, &t) != rows[i].taken)
			fail_msg("%s", rows[i].line);
		if (rows[i].taken)
			assert_int_equal(t.leveled, rows[i].leveled);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_access_log_s_status_gives_the_level),
		cmocka_unit_test(what_is_no_access_log_is_left),
		cmocka_unit_test(columns_are_taken_whole_or_not_at_all),
		cmocka_unit_test(pairs_need_a_loggers_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
