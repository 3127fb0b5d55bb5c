/* logcore, loggers: levels, children, and the limits of a line. */
#include "logcore_fixture.h"

#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
	(void)state;
	unsetenv("LOGCORE_LEVEL");
	capture_open(&cap, (struct logcore_options){ .name = "app" });
	return 0;
}

/* ---- levels ------------------------------------------------------------------------ */

static int evaluated;
static int expensive(void)
{
	return ++evaluated;
}

static void nothing_is_written_or_evaluated_below_the_level(void **state)
{
	(void)state;
	evaluated = 0;
	logcore_debug(cap.log, "no", logcore_kv("x", expensive()));
	logcore_log(cap.log, LOGCORE_INFO - 1, "no", logcore_kv("x", expensive()));
	assert_int_equal(evaluated, 0);
	assert_false(capture_next(&cap));
	assert_false(logcore_enabled(cap.log, LOGCORE_DEBUG));
	logcore_set_level(cap.log, LOGCORE_TRACE);
	logcore_trace(cap.log, "yes", logcore_kv("x", expensive()));
	assert_true(capture_next(&cap));
	assert_int_equal(evaluated, 1);
	logcore_set_level(cap.log, LOGCORE_OFF);
	logcore_critical(cap.log, "no");
	logcore_log(cap.log, LOGCORE_OFF, "no");
	logcore_log(cap.log, LOGCORE_OFF + 1, "no");
	assert_false(capture_next(&cap));
}

static void every_level_has_its_name(void **state)
{
	static const char *const names[] = { "TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL" };
	struct json_object *o;

	(void)state;
	logcore_set_level(cap.log, LOGCORE_TRACE);
	logcore_trace(cap.log, "x");
	logcore_debug(cap.log, "x");
	logcore_info(cap.log, "x");
	logcore_warning(cap.log, "x");
	logcore_error(cap.log, "x");
	logcore_critical(cap.log, "x");
	for (size_t i = 0; i < 6; i++) {
		o = capture_line(&cap);
		assert_string_equal(text(member(o, "level")), names[i]);
		assert_string_equal(logcore_level_name(logcore_level_number(names[i])), names[i]);
		json_object_put(o);
	}
	assert_int_equal(logcore_level_number("warn"), LOGCORE_WARNING);
	assert_int_equal(logcore_level_number("fatal"), LOGCORE_CRITICAL);
	assert_int_equal(logcore_level_number("loud") + logcore_level_number("") + logcore_level_number(NULL),
			 0);
	assert_string_equal(logcore_level_name(35), "WARNING");
}

static void environment_overrides_the_option(void **state)
{
	struct capture c;

	(void)state;
	setenv("LOGCORE_LEVEL", "Error", 1);
	capture_open(&c, (struct logcore_options){ .level = LOGCORE_DEBUG });
	assert_true(logcore_enabled(c.log, LOGCORE_ERROR) && !logcore_enabled(c.log, LOGCORE_WARNING));
	capture_close(&c);
	capture_open(&c, (struct logcore_options){ .level = LOGCORE_DEBUG, .ignore_environment = true });
	assert_true(logcore_enabled(c.log, LOGCORE_DEBUG));
	capture_close(&c);
	setenv("LOGCORE_LEVEL", "loud", 1);
	capture_open(&c, (struct logcore_options){ .level = LOGCORE_WARNING });
	assert_false(logcore_enabled(c.log, LOGCORE_INFO));
	json_object_put(capture_line(&c));
	assert_non_null(strstr(c.line, "LOGCORE_LEVEL is not a level"));
	capture_close(&c);
	unsetenv("LOGCORE_LEVEL");
}

static void journal_lines_begin_with_their_priority(void **state)
{
	static const char want[] = "776432";
	struct capture c;

	(void)state;
	capture_open(&c, (struct logcore_options){ .level = LOGCORE_TRACE, .journal_priority = true });
	for (size_t i = 0; i < 6; i++) {
		const int levels[] = { LOGCORE_TRACE, LOGCORE_DEBUG, LOGCORE_INFO, LOGCORE_WARNING,
				       LOGCORE_ERROR, LOGCORE_CRITICAL };

		logcore_log(c.log, levels[i], "x");
		assert_true(capture_next(&c));
		assert_memory_equal(c.line, ((char[]){ '<', want[i], '>', '{' }), 4);
		json_object_put(parse_line(c.line + 3, c.len - 3));
	}
	capture_close(&c);
}

/* ---- children ---------------------------------------------------------------------- */

static void child_has_its_parents_name_and_fields(void **state)
{
	struct logcore *http = logcore_child(cap.log, "ht\"tp", logcore_kv("port", 80));
	struct logcore *request = logcore_child(http, NULL, logcore_kv("id", "a\"b"), logcore_kv("ok", 1.5));
	struct json_object *o;

	(void)state;
	logcore_close(http);                    /* in any order */
	logcore_info(request, "x", logcore_kv("n", 1));
	o = capture_line(&cap);
	assert_string_equal(text(member(o, "logger")), "app.ht\"tp");
	assert_string_equal(json_object_to_json_string_ext(member(o, "context"), JSON_C_TO_STRING_PLAIN),
			    "{\"port\":80,\"id\":\"a\\\"b\",\"ok\":1.5,\"n\":1}");
	json_object_put(o);
	logcore_close(request);
	logcore_info(cap.log, "x");
	o = capture_line(&cap);
	assert_string_equal(text(member(o, "logger")), "app");
	assert_null(member(o, "context"));
	json_object_put(o);
}

static void child_has_its_own_level(void **state)
{
	struct logcore *child, *quiet;

	(void)state;
	logcore_set_level(cap.log, LOGCORE_ERROR);
	quiet = logcore_child(cap.log, "q");
	logcore_set_level(cap.log, LOGCORE_INFO);
	child = logcore_child(cap.log, "c");
	logcore_warning(quiet, "no");           /* the parent's level when the child was made */
	logcore_set_level(child, LOGCORE_DEBUG);
	logcore_debug(child, "yes");
	logcore_debug(cap.log, "no");
	assert_true(capture_next(&cap));
	assert_false(capture_next(&cap));
	logcore_close(quiet);
	logcore_close(child);
}

static void no_logger_logs_nothing(void **state)
{
	struct logcore *none = NULL;
	struct logcore_counters s = { .lines = 7 };

	(void)state;
	logcore_info(none, "x", logcore_kv("a", 1));
	assert_null(logcore_child(none, "c", logcore_kv("a", 1)));
	logcore_set_level(none, LOGCORE_DEBUG);
	assert_int_equal(logcore_reopen(none), 0);
	logcore_stats(none, &s);
	assert_int_equal(s.lines, 0);
	logcore_close(none);
}

/* ---- limits ------------------------------------------------------------------------ */

/* At each length around the two limits, a line is whole or has "truncated". */
static void long_lines_are_whole_up_to_the_limit(void **state)
{
	static const size_t around[] = { 4096, LOGCORE_LINE_MAX };
	char *s = big('x', LOGCORE_LINE_MAX + 100);
	bool cut;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (size_t n = around[i] - 200; n < around[i] + 60; n++) {
			struct json_object *o;

			logcore_info(cap.log, "m", logcore_kv_strn("s", s, n), logcore_kv("after", 1));
			o = capture_line(&cap);
			cut = member(o, "truncated");
			assert_in_range(cap.len, 1, LOGCORE_LINE_MAX);
			assert_int_equal(json_object_get_string_len(field(o, "s")),
					 cut ? LOGCORE_LINE_MAX / 4 : n);
			assert_int_equal(json_object_get_int(field(o, "after")), 1);
			json_object_put(o);
		}
	assert_true(cut);
	assert_in_range(stats_of(cap.log).truncated, 60, 250);
	free(s);
}

/* Each text in turn is huge: characters of three bytes, and characters that grow by escaping. */
static void a_megabyte_is_cut_between_characters(void **state)
{
	char *s = big('\x01', 1 << 20);
	struct json_object *o;

	(void)state;
	for (size_t i = 0; i + 3 < 1 << 20; i += 3)
		memcpy(s + i, "\xe2\x82\xac", 3);
	logcore_info(cap.log, s, logcore_kv("a", s), logcore_kv("b", s), logcore_kv("c", s),
		     logcore_kv("d", s), logcore_kv("e", s), logcore_kv("n", 1));
	o = capture_line(&cap);
	assert_true(json_object_get_boolean(member(o, "truncated")));
	assert_in_range(cap.len, LOGCORE_LINE_MAX - 64, LOGCORE_LINE_MAX);
	assert_int_equal(json_object_get_string_len(field(o, "a")) % 3, 0);
	json_object_put(o);
	memset(s, '\x01', 1 << 20);
	logcore_info(cap.log, "m", logcore_kv(s, 1), logcore_kv("b", s));
	o = capture_line(&cap);
	assert_int_equal(json_object_get_string_len(field(o, "b")), LOGCORE_LINE_MAX / 4 / 6);
	assert_int_equal(json_object_object_length(member(o, "context")), 1);
	json_object_put(o);
	free(s);
}

/* With the smallest line_max, name, bound fields and message all too long. */
static void a_line_of_long_parts_is_still_valid(void **state)
{
	char *s = big('"', 5000);
	struct json_object *o;
	struct logcore *child;
	struct capture c;

	(void)state;
	capture_open(&c, (struct logcore_options){ .name = s, .line_max = LOGCORE_LINE_MIN });
	child = logcore_child(c.log, s, logcore_kv("id", 7), logcore_kv("b", s), logcore_kv("left out", 1));
	for (size_t n = 0; n < 1000; n++) {
		logcore_info(child, s + 5000 - n, logcore_kv("f", s + 5000 - n));
		o = capture_line(&c);
		assert_true(json_object_get_boolean(member(o, "truncated")));
		assert_in_range(c.len, 1, LOGCORE_LINE_MIN);
		assert_int_equal(json_object_get_int(field(o, "id")), 7);
		json_object_put(o);
	}
	logcore_close(child);
	capture_close(&c);
	free(s);
}

int main(void)
{
#define LOGGER(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		LOGGER(nothing_is_written_or_evaluated_below_the_level),
		LOGGER(every_level_has_its_name),
		LOGGER(environment_overrides_the_option),
		LOGGER(journal_lines_begin_with_their_priority),
		LOGGER(child_has_its_parents_name_and_fields),
		LOGGER(child_has_its_own_level),
		LOGGER(no_logger_logs_nothing),
		LOGGER(long_lines_are_whole_up_to_the_limit),
		LOGGER(a_megabyte_is_cut_between_characters),
		LOGGER(a_line_of_long_parts_is_still_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
