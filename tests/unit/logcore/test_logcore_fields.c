/* logcore, fields that are no plain number or text. */
#include "logcore_fixture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The bytes of the next line's context. */
static const char *context(void)
{
	char *from;

	json_object_put(capture_line(&cap));
	from = strstr(cap.line, "\"context\":");
	assert_non_null(from);
	cap.line[cap.len - 2] = '\0';
	return from + strlen("\"context\":");
}

#define assert_context(want, ...)                                                                  \
	do {                                                                                       \
		logcore_info(cap.log, "x", __VA_ARGS__);                                           \
		assert_string_equal(context(), want);                                              \
	} while (0)

/* ---- bytes, times ------------------------------------------------------------------ */

static void bytes_are_hexadecimal(void **state)
{
	(void)state;
	assert_context("{\"h\":\"00ff1a\"}", logcore_kv_hex("h", "\0\xff\x1a", 3));
	assert_context("{\"h\":\"\"}", logcore_kv_hex("h", "x", 0));
	assert_context("{\"h\":null}", logcore_kv_hex("h", NULL, 3));
}

static void hex_that_is_too_long_is_cut_after_a_whole_byte(void **state)
{
	char *s = big('\xab', 1 << 20);
	struct json_object *o;

	(void)state;
	logcore_info(cap.log, "x", logcore_kv_hex("h", s, 1 << 20), logcore_kv("n", 1));
	o = capture_line(&cap);
	assert_int_equal(json_object_get_string_len(field(o, "h")), LOGCORE_LINE_MAX / 4);
	assert_int_equal(strspn(text(field(o, "h")), "ab"), LOGCORE_LINE_MAX / 4);
	assert_int_equal(json_object_get_int(field(o, "n")), 1);
	assert_true(json_object_get_boolean(member(o, "truncated")));
	json_object_put(o);
	free(s);
}

static void times_are_those_of_the_years_1_to_9999(void **state)
{
	static const struct { int64_t s; long ns; const char *want; } rows[] = {
		{ 1795228754, 123456789, "{\"t\":\"2026-11-21T02:39:14.123456Z\"}" },
		{ 0, 0, "{\"t\":\"1970-01-01T00:00:00.000000Z\"}" },
		{ -1, 999999999, "{\"t\":\"1969-12-31T23:59:59.999999Z\"}" },
		{ -62135596800, 0, "{\"t\":\"0001-01-01T00:00:00.000000Z\"}" },
		{ 253402300799, 0, "{\"t\":\"9999-12-31T23:59:59.000000Z\"}" },
		{ -62135596801, 0, "{\"t\":null}" }, { 253402300800, 0, "{\"t\":null}" },
		{ INT64_MIN, 0, "{\"t\":null}" },    { INT64_MAX, 0, "{\"t\":null}" },
		{ 0, 1000000000, "{\"t\":null}" },   { 0, -1, "{\"t\":null}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct timespec t = { rows[i].s, rows[i].ns };

		assert_context(rows[i].want, logcore_kv_time("t", t));
		assert_context(rows[i].want, logcore_kv("t", t));
	}
}

static void durations_are_exact_milliseconds(void **state)
{
	static const struct { int64_t ns; const char *want; } rows[] = {
		{ 0, "{\"d\":0.0}" }, { 1, "{\"d\":0.000001}" }, { 1500000, "{\"d\":1.5}" },
		{ -1, "{\"d\":-0.000001}" }, { 12345678, "{\"d\":12.345678}" },
		{ 60000000000, "{\"d\":60000.0}" }, { 1010000, "{\"d\":1.01}" },
		{ INT64_MAX, "{\"d\":9223372036854.775807}" }, { INT64_MIN, "{\"d\":-9223372036854.775808}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_context(rows[i].want, logcore_kv_duration("d", rows[i].ns));
}

/* ---- nested JSON ------------------------------------------------------------------- */

static void json_is_copied_without_its_space(void **state)
{
	static const struct { const char *json, *want; } rows[] = {
		{ " {\n \"a b\" : [ 1 , -0.5e+3,\ttrue,false , null ] ,\r\n\"c\\\" :\":{ } }\n",
		  "{\"j\":{\"a b\":[1,-0.5e+3,true,false,null],\"c\\\" :\":{}}}" },
		{ "[]", "{\"j\":[]}" }, { "\"s\"", "{\"j\":\"s\"}" }, { "0", "{\"j\":0}" },
		{ " null ", "{\"j\":null}" }, { "[[],{},[{}]]", "{\"j\":[[],{},[{}]]}" },
		{ "\"\\u00e9\\ud83d\\ude00\\/\"", "{\"j\":\"\\u00e9\\ud83d\\ude00\\/\"}" },
		{ "\"\xc3\xa9 \xf0\x9f\x98\x80\"", "{\"j\":\"\xc3\xa9 \xf0\x9f\x98\x80\"}" },
		{ "{\"a\":1,\"a\":2}", "{\"j\":{\"a\":1,\"a\":2}}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_context(rows[i].want, logcore_kv_json("j", rows[i].json, strlen(rows[i].json)));
	assert_context("{\"j\":null}", logcore_kv_json("j", NULL, 3));
}

static void invalid_json_becomes_a_string(void **state)
{
	static const char *const rows[] = {
		"", " ", "{", "}", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}",
		"[1 2]", "1 2", "01", "-", "1.", ".5", "1e", "+1", "0x1", "nul", "nulll", "True", "NaN",
		"'a'", "\"a", "\"\\x\"", "\"\\u12g4\"", "\"\\u12\"", "\"a\nb\"", "\"a\tb\"", "\"\\u0000\"",
		"\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\xff\"", "\"\xc3\"", "[]]", "[}", "{]",
		"{\"a\":1]", "[1}", "// c\n1", "\xef\xbb\xbf 1", "\"\\",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct json_object *o;

		logcore_info(cap.log, "x", logcore_kv_json("j", rows[i], strlen(rows[i])));
		o = capture_line(&cap);
		assert_true(json_object_is_type(field(o, "j"), json_type_string));
		if (!strpbrk(rows[i], "\xff\xc3"))
			assert_string_equal(text(field(o, "j")), rows[i]);
		json_object_put(o);
	}
	assert_context("{\"j\":\"\xef\xbf\xbd\"}", logcore_kv_json("j", "", 1));
}

/* Every proper prefix of a valid text is invalid. */
static void cut_json_is_a_string(void **state)
{
	static const char whole[] = "{\"a\":[1.5,{\"b\":\"\\u00e9\xc3\xa9\"}],\"c\":{\"d\":true}}";

	(void)state;
	for (size_t n = 0; n < sizeof whole - 1; n++) {
		struct json_object *o;

		logcore_info(cap.log, "x", logcore_kv_json("j", whole, n));
		o = capture_line(&cap);
		assert_true(json_object_is_type(field(o, "j"), json_type_string));
		json_object_put(o);
	}
}

static void json_has_a_depth(void **state)
{
	char s[2 * LOGCORE_DEPTH_MAX + 2];

	(void)state;
	for (size_t depth = 1; depth <= LOGCORE_DEPTH_MAX + 1; depth++)
		for (int array = 0; array < 2; array++) {
			struct json_object *o;

			memset(s, '[', depth);
			memset(s + depth, ']', depth);
			logcore_info(cap.log, "x", logcore_kv_json("j", s, 2 * depth));
			o = capture_line(&cap);
			assert_true(json_object_is_type(field(o, "j"), depth > LOGCORE_DEPTH_MAX
							? json_type_string : json_type_array));
			json_object_put(o);
		}
}

/* At each length around the limits of a line, JSON is written whole or becomes a cut string. */
static void json_that_does_not_fit_is_a_string(void **state)
{
	static const size_t around[] = { 4096, LOGCORE_LINE_MAX };
	char *s = big(' ', 1 << 20);
	struct json_object *o;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (size_t n = around[i] - 200; n < around[i] + 60; n++) {
			bool cut;

			memset(s, '1', n);
			memcpy(s, "[\"", 2);
			memcpy(s + n - 2, "\"]", 2);
			logcore_info(cap.log, "m", logcore_kv_json("j", s, n), logcore_kv("after", 1));
			o = capture_line(&cap);
			cut = member(o, "truncated");
			assert_true(json_object_is_type(field(o, "j"),
							cut ? json_type_string : json_type_array));
			assert_int_equal(json_object_get_int(field(o, "after")), 1);
			json_object_put(o);
		}
	memset(s, ' ', 1 << 20);
	s[1 << 19] = '7';
	assert_context("{\"j\":7}", logcore_kv_json("j", s, 1 << 20));
	free(s);
}

/* ---- failures ---------------------------------------------------------------------- */

static void errors_have_number_and_text(void **state)
{
	(void)state;
	assert_context("{\"errno\":28,\"error\":\"No space left on device\"}", logcore_kv_errno(ENOSPC));
	assert_context("{\"errno\":28,\"error\":\"No space left on device\"}", logcore_kv_errno(-ENOSPC));
	assert_context("{\"a\":1,\"errno\":2,\"error\":\"No such file or directory\",\"b\":2}",
		       logcore_kv("a", 1), logcore_kv_errno(ENOENT), logcore_kv("b", 2));
	assert_context("{\"errno\":99999,\"error\":\"Unknown error\"}", logcore_kv_errno(99999));
	assert_context("{\"errno\":2147483648,\"error\":\"Unknown error\"}", logcore_kv_errno(INT_MIN));
	errno = EPIPE;
	logcore_info(cap.log, "x", logcore_kv_errno(errno));
	assert_int_equal(errno, EPIPE);
	assert_string_equal(context(), "{\"errno\":32,\"error\":\"Broken pipe\"}");
}

static void source_is_file_line_and_function(void **state)
{
	char want[200];

	(void)state;
	snprintf(want, sizeof want, "{\"source\":\"" __FILE__ ":%d (%s)\"}", __LINE__ + 1, __func__);
	assert_context(want, logcore_kv_source());
}

/* Exported, so that -rdynamic gives it a name; see unit.mk. */
void fail_somewhere(struct logcore *log);
__attribute__((noinline)) void fail_somewhere(struct logcore *log)
{
	logcore_error(log, "x", logcore_kv_backtrace());
	__asm__ volatile("");           /* not the last call: it keeps its frame */
}

static void backtrace_begins_where_the_program_logs(void **state)
{
	struct json_object *o, *trace;
	const char *first;

	(void)state;
	fail_somewhere(cap.log);
	o = capture_line(&cap);
	trace = field(o, "backtrace");
	assert_true(json_object_is_type(trace, json_type_array));
	assert_in_range(json_object_array_length(trace), 3, 64);
	first = text(json_object_array_get_idx(trace, 0));
	assert_int_equal(strncmp(first, "fail_somewhere+0x", 17), 0);
	assert_non_null(strstr(first, " (test_logcore_fields+0x"));
	json_object_put(o);
}

static void backtrace_is_cut_between_frames(void **state)
{
	char *s = big('x', LOGCORE_LINE_MIN);
	struct capture c;

	(void)state;
	capture_open(&c,
		     (struct logcore_options){ .line_max = LOGCORE_LINE_MIN, .ignore_environment = true });
	for (size_t n = 0; n < LOGCORE_LINE_MIN; n += 3) {
		logcore_info(c.log, "x", logcore_kv_strn("s", s, n), logcore_kv_backtrace(),
			     logcore_kv_source(), logcore_kv_errno(EPIPE));
		json_object_put(capture_line(&c));
		assert_in_range(c.len, 1, LOGCORE_LINE_MIN);
	}
	capture_close(&c);
	free(s);
}

int main(void)
{
#define FIELDS(t) cmocka_unit_test_setup_teardown(t, setup_app, teardown)
	const struct CMUnitTest tests[] = {
		FIELDS(bytes_are_hexadecimal),
		FIELDS(hex_that_is_too_long_is_cut_after_a_whole_byte),
		FIELDS(times_are_those_of_the_years_1_to_9999),
		FIELDS(durations_are_exact_milliseconds),
		FIELDS(json_is_copied_without_its_space),
		FIELDS(invalid_json_becomes_a_string),
		FIELDS(cut_json_is_a_string),
		FIELDS(json_has_a_depth),
		FIELDS(json_that_does_not_fit_is_a_string),
		FIELDS(errors_have_number_and_text),
		FIELDS(source_is_file_line_and_function),
		FIELDS(backtrace_begins_where_the_program_logs),
		FIELDS(backtrace_is_cut_between_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
