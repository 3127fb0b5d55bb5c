/* logcore.hpp: the lines that the calls in logcore_hpp.cc write. */
#include "logcore_fixture.h"
#include "logcore_hpp.h"

static int setup(void **state)
{
	(void)state;
	capture_open(&cap, (struct logcore_options){ .name = "reader" });
	return 0;
}

/* The next line from its level on. */
static void assert_next(const char *want)
{
	json_object_put(capture_line(&cap));
	assert_string_equal(strstr(cap.line, "\"level\""), want);
}

static void values_of_the_standard_library_are_fields(void **state)
{
	(void)state;
	hpp_fields(cap.ends[0]);
	assert_next("\"level\":\"INFO\",\"logger\":\"app\",\"message\":\"text\","
		    "\"context\":{\"string\":\"nul\xef\xbf\xbd inside\",\"view\":\"nul\",\"empty\":\"\","
		    "\"temporary\":\"ab\",\"literal\":\"c\",\"null\":null}}\n");
	assert_next("\"level\":\"INFO\",\"logger\":\"app\",\"message\":\"nul\",\"context\":{\"some\":5,"
		    "\"none\":null,\"text\":\"opt\",\"time\":\"1970-01-01T00:00:00.000000Z\","
		    "\"nullopt\":null,\"own\":99}}\n");
	assert_next("\"level\":\"INFO\",\"logger\":\"app\",\"message\":\"enums\",\"context\":{\"scoped\":200,"
		    "\"old\":7,\"own\":12,\"long double\":0.5,\"bool\":true,\"char\":99}}\n");
	assert_next("\"level\":\"INFO\",\"logger\":\"app\",\"message\":\"time\",\"context\":{\"us\":1.5,"
		    "\"s\":2000.0,\"double\":250.0,\"huge\":9223372036854.775807,"
		    "\"past\":-9223372036854.775808,\"at\":\"1969-12-31T23:59:59.999999Z\","
		    "\"second\":\"2026-11-21T02:39:14.000000Z\"}}\n");
	assert_next("\"level\":\"ERROR\",\"logger\":\"app\",\"message\":\"failed\","
		    "\"context\":{\"error\":\"out of paper\",\"page\":3,\"error\":\"no\"}}\n");
	assert_next("\"level\":\"WARNING\",\"logger\":\"app\",\"message\":\"macros take the "
		    "same\",\"context\":{\"string\":\" inside\"}}\n");
	assert_next("\"level\":\"INFO\",\"logger\":\"app\",\"message\":\"store\",\"context\":{\"crate\":3,"
		    "\"text\":\"t\",\"maybe\":4}}\n");
}

static void methods_have_their_levels(void **state)
{
	static const char *const names[] = { "TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL" };

	(void)state;
	hpp_levels(cap.ends[0]);
	for (size_t i = 0; i < 6; i++) {
		struct json_object *o = capture_line(&cap);

		assert_string_equal(text(member(o, "level")), names[i]);
		json_object_put(o);
	}
	assert_next("\"level\":\"CRITICAL\",\"logger\":\"app\",\"message\":\"yes\"}\n");
	assert_false(capture_next(&cap));
}

static void message_may_be_any_text_or_null(void **state)
{
	static const char *const messages[] = { "", "", "pointer", "array", "array", "string", "", "own" };

	(void)state;
	hpp_messages(cap.ends[0]);
	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
		struct json_object *o = capture_line(&cap);

		assert_string_equal(text(member(o, "message")), messages[i]);
		json_object_put(o);
	}
	assert_false(capture_next(&cap));
}

static void loggers_move_and_children_outlive_parents(void **state)
{
	(void)state;
	hpp_ownership(cap.ends[0]);
	assert_next("\"level\":\"INFO\",\"logger\":\"app.http\",\"message\":\"outlives its "
		    "parents\",\"context\":{\"id\":\"r1\",\"error\":\"bound\"}}\n");
	assert_false(capture_next(&cap));
}

static void logger_that_is_not_open_logs_nothing(void **state)
{
	char sentence[100] = "";

	(void)state;
	assert_true(hpp_open_fails(sentence, sizeof sentence));
	assert_string_equal(sentence, "/nowhere/app.log: No such file or directory");
	assert_true(hpp_failure_is_silent());
}

int main(void)
{
#define HPP(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		HPP(values_of_the_standard_library_are_fields),
		HPP(methods_have_their_levels),
		HPP(message_may_be_any_text_or_null),
		HPP(loggers_move_and_children_outlive_parents),
		HPP(logger_that_is_not_open_logs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
