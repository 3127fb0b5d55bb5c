/* logcore, the line: readers get back any value that goes in. test_logcore_sink tests writing. */
#include "logcore_fixture.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/parse.h"
#include "tests/unit/random_text.h"

/* A second copy of the module, to test its static functions. */
#define logcore_number_u64 copy_u64
#define logcore_number_i64 copy_i64
#define logcore_number_double copy_double
#define logcore_number_float copy_float
#define logcore_number_millionths copy_millionths
#include "logcore/number.h"
#include "logcore/number.c"

static struct timespec fixed_time;      /* the result of clock_gettime() while tv_sec is not 0 */

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	if (fixed_time.tv_sec == 0)
		return __real_clock_gettime(id, t);
	*t = fixed_time;
	return 0;
}

static int setup(void **state)
{
	(void)state;
	fixed_time = (struct timespec){ 0 };
	capture_open(&cap, (struct logcore_options){ .name = "billing", .ignore_environment = true });
	return 0;
}

static void line_is_what_the_documentation_shows(void **state)
{
	(void)state;
	fixed_time = (struct timespec){ 1795228754, 123456789 };
	logcore_info(cap.log, "User action", logcore_kv("user_id", 123), logcore_kv("action", "login"));
	assert_true(capture_next(&cap));
	assert_string_equal(cap.line,
		"{\"timestamp\":\"2026-11-21T02:39:14.123456Z\",\"level\":\"INFO\",\"logger\":\"billing\","
		"\"message\":\"User action\",\"context\":{\"user_id\":123,\"action\":\"login\"}}\n");
	logcore_info(cap.log, "Started");
	assert_true(capture_next(&cap));
	assert_string_equal(cap.line,
		"{\"timestamp\":\"2026-11-21T02:39:14.123456Z\",\"level\":\"INFO\",\"logger\":\"billing\","
		"\"message\":\"Started\"}\n");
}

/* Against gmtime_r(), over leap years, ends of centuries and the limits. */
static void timestamp_is_utc_at_any_second(void **state)
{
	(void)state;
	random_state = 1;
	for (int i = 0; i < 3000; i++) {
		time_t at = i == 0 ? 1 : i == 1 ? 253402300799 : (time_t)(random64() % 253402300799);
		struct json_object *o;
		char want[64];
		struct tm tm;

		fixed_time = (struct timespec){ at, i == 0 ? 0 : 999999999 };
		gmtime_r(&at, &tm);
		snprintf(want, sizeof want, "%04d-%02d-%02dT%02d:%02d:%02d.%sZ", tm.tm_year + 1900,
			 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
			 i == 0 ? "000000" : "999999");
		logcore_info(cap.log, "x");
		o = capture_line(&cap);
		assert_string_equal(text(member(o, "timestamp")), want);
		json_object_put(o);
	}
}

static void timestamp_stays_within_four_digits_of_year(void **state)
{
	static const struct { time_t at; const char *want; } rows[] = {
		{ 253402300800, "\"9999-12-31T23:59:59.000000Z\"" },
		{ -1, "\"1970-01-01T00:00:00.000000Z\"" },
		{ INT64_MAX, "\"9999-12-31T23:59:59.000000Z\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		fixed_time.tv_sec = rows[i].at;
		logcore_info(cap.log, "x");
		assert_true(capture_next(&cap));
		assert_non_null(strstr(cap.line, rows[i].want));
	}
}

static void timestamp_is_now(void **state)
{
	int64_t before, after, at;
	struct json_object *o;
	struct timespec t;

	(void)state;
	clock_gettime(CLOCK_REALTIME, &t);
	before = t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
	logcore_info(cap.log, "x");
	clock_gettime(CLOCK_REALTIME, &t);
	after = t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
	o = capture_line(&cap);
	assert_true(parse_rfc3339(text_of(text(member(o, "timestamp"))), &at));
	assert_in_range(at, before, after);
	json_object_put(o);
}

static void integers_of_every_width_come_back(void **state)
{
	struct json_object *o;

	(void)state;
	logcore_info(cap.log, "x", logcore_kv("c", (signed char)SCHAR_MIN),
		     logcore_kv("uc", (unsigned char)UCHAR_MAX), logcore_kv("s", (short)SHRT_MIN),
		     logcore_kv("us", (unsigned short)USHRT_MAX), logcore_kv("i", INT_MIN),
		     logcore_kv("u", UINT_MAX), logcore_kv("l", LONG_MIN), logcore_kv("ul", ULONG_MAX),
		     logcore_kv("ll", LLONG_MIN), logcore_kv("ull", ULLONG_MAX), logcore_kv("zero", 0),
		     logcore_kv("true", (bool)1), logcore_kv("false", (bool)0));
	o = capture_line(&cap);
	assert_int_equal(json_object_get_int64(field(o, "c")), SCHAR_MIN);
	assert_int_equal(json_object_get_int64(field(o, "uc")), UCHAR_MAX);
	assert_int_equal(json_object_get_int64(field(o, "s")), SHRT_MIN);
	assert_int_equal(json_object_get_int64(field(o, "us")), USHRT_MAX);
	assert_int_equal(json_object_get_int64(field(o, "i")), INT_MIN);
	assert_int_equal(json_object_get_int64(field(o, "u")), UINT_MAX);
	assert_int_equal(json_object_get_int64(field(o, "l")), LONG_MIN);
	assert_true(json_object_get_uint64(field(o, "ul")) == ULONG_MAX);
	assert_int_equal(json_object_get_int64(field(o, "ll")), LLONG_MIN);
	assert_true(json_object_get_uint64(field(o, "ull")) == ULLONG_MAX);
	assert_true(json_object_is_type(field(o, "zero"), json_type_int));
	assert_string_equal(json_object_to_json_string(field(o, "true")), "true");
	assert_string_equal(json_object_to_json_string(field(o, "false")), "false");
	json_object_put(o);
}

/* The smallest and largest number of each length. */
static void integers_are_exact(void **state)
{
	(void)state;
	for (uint64_t power = 1, i = 0; i < 20; i++, power *= 10)
		for (int off = -1; off <= 1; off++) {
			uint64_t v = power + (uint64_t)off;
			char want[64];

			logcore_info(cap.log, "x", logcore_kv("u", v), logcore_kv("i", (int64_t)(0 - v / 2)));
			snprintf(want, sizeof want, "{\"u\":%llu,\"i\":%lld}}\n", (unsigned long long)v,
				 (long long)(0 - v / 2));
			assert_true(capture_next(&cap));
			assert_non_null(strstr(cap.line, want));
		}
}

/* The text of a double in the line. */
static const char *double_text(double v)
{
	char *from;

	logcore_info(cap.log, "x", logcore_kv("v", v));
	assert_true(capture_next(&cap));
	from = strstr(cap.line, "{\"v\":");
	assert_non_null(from);
	from += strlen("{\"v\":");
	from[strcspn(from, "}")] = '\0';
	return from;
}

static void doubles_are_the_shortest_text_that_reads_back(void **state)
{
	static const struct { double v; const char *want; } rows[] = {
		{ 0.1, "0.1" }, { 12.5, "12.5" }, { 3, "3.0" }, { -0.0, "-0.0" }, { 0, "0.0" },
		{ 99.99, "99.99" }, { 0.1 + 0.2, "0.30000000000000004" }, { 1.0 / 3, "0.3333333333333333" },
		{ 5e-324, "5e-324" }, { 9.123456789012345, "9.123456789012344" },
		{ -1234.5678, "-1234.5678" }, { 0.00001, "0.00001" }, { 1e16, "10000000000000000.0" },
		{ 1e300, "1e+300" }, { DBL_MAX, "1.7976931348623157e+308" }, { 1e-7, "1e-07" },
		{ 4503599627370495.5, "4503599627370495.5" }, { 0.5, "0.5" }, { NAN, "\"NaN\"" },
		{ INFINITY, "\"Infinity\"" }, { -INFINITY, "\"-Infinity\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(double_text(rows[i].v), rows[i].want);
}

/* Significant digits of a text, without zeros at either end. */
static int significant(const char *s)
{
	int n = 0, zeros = 0;

	for (; *s && *s != 'e'; s++) {
		if (*s < '0' || *s > '9' || (n == 0 && *s == '0'))
			continue;
		zeros = *s == '0' ? zeros + 1 : 0;
		n++;
	}
	return n - zeros;
}

/* Compares with printf() and the fewest digits that read back as the number. */
static bool is_nearest_of_fewest_digits(const char *s, double v)
{
	char want[64];
	int n = 0;

	do
		snprintf(want, sizeof want, "%.*e", n++, v);
	while (strtod(want, NULL) != v);
	return significant(s) <= n && strtold(s, NULL) == strtold(want, NULL);
}

static void random_doubles_read_back_and_are_shortest(void **state)
{
	(void)state;
	random_state = 2;
	for (int i = 0; i < 20000; i++) {
		uint64_t bits = random64();
		double v;

		/* A third has random bits, a third a usual size, a third few digits. */
		memcpy(&v, &bits, sizeof v);
		if (i % 3 == 1)
			v = (double)(int64_t)bits / pow(10, (double)(bits % 20));
		if (i % 3 == 2)
			v = (double)(bits % 1000000) / pow(10, (double)(bits >> 60));
		if (!isfinite(v))
			continue;
		assert_true(strtod(double_text(v), NULL) == v);
		if (fabs(v) >= 1e-5 && fabs(v) < 1e15)
			assert_true(is_nearest_of_fewest_digits(double_text(v), v));
	}
}

/* Powers of two, where the distance to the neighbours changes. */
static void powers_of_two_read_back(void **state)
{
	(void)state;
	for (int e = -1074; e < 1024; e++)
		assert_true(strtod(double_text(ldexp(1, e)), NULL) == ldexp(1, e));
	for (int e = -149; e < 128; e++) {
		logcore_info(cap.log, "x", logcore_kv("v", ldexpf(1, e)));
		assert_true(capture_next(&cap));
		assert_true(strtof(strstr(cap.line, "\"v\":") + 4, NULL) == ldexpf(1, e));
	}
}

static void floats_read_back_as_floats(void **state)
{
	(void)state;
	random_state = 3;
	for (int i = 0; i < 5000; i++) {
		uint32_t bits = i == 0 ? 0x3dcccccd : (uint32_t)random64();
		float v;

		memcpy(&v, &bits, sizeof v);
		if (!isfinite(v))
			continue;
		logcore_info(cap.log, "x", logcore_kv("v", v));
		assert_true(capture_next(&cap));
		assert_true(strtof(strstr(cap.line, "\"v\":") + 4, NULL) == v);
		if (i == 0)
			assert_non_null(strstr(cap.line, "{\"v\":0.1}"));
	}
}

/* printf() writes the decimal point of the locale, which may have several bytes. */
static void doubles_have_a_point_in_any_locale(void **state)
{
	static const struct { const char *printed, *want; } rows[] = {
		{ "1,2500e+30", "1.25e+30" }, { "1\xd9\xab" "5e-07", "1.5e-07" }, { "1.000e+22", "1e+22" },
		{ "5,00e-324", "5e-324" }, { "7e+20", "7e+20" }, { "1.0203e+99", "1.0203e+99" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[LOGCORE_NUMBER_MAX + 1];

		out[tidy(out, rows[i].printed)] = '\0';
		assert_string_equal(out, rows[i].want);
	}
}

static void nulls_are_null(void **state)
{
	const char *none = NULL;
	struct json_object *o;

	(void)state;
	logcore_info(cap.log, none, logcore_kv("s", none), logcore_kv("p", NULL),
		     logcore_kv_strn("n", NULL, 5), logcore_kv(none, 1), logcore_kv("at", (void *)0x7ffd1c));
	o = capture_line(&cap);
	assert_string_equal(text(member(o, "message")), "");
	assert_true(json_object_object_get_ex(member(o, "context"), "s", NULL));
	assert_null(field(o, "s"));
	assert_null(field(o, "p"));
	assert_null(field(o, "n"));
	assert_int_equal(json_object_get_int(field(o, "")), 1);
	assert_string_equal(text(field(o, "at")), "0x7ffd1c");
	json_object_put(o);
}

static void assert_text(struct json_object *v, const char *want, size_t len)
{
	assert_int_equal(json_object_get_string_len(v), len);
	assert_memory_equal(json_object_get_string(v), want, len);
}

static void assert_comes_back(const char *s, size_t len)
{
	char want[4096];
	size_t n = repaired(want, s, len);
	struct json_object *o;

	logcore_info(cap.log, "x", logcore_kv_strn("v", s, len));
	o = capture_line(&cap);
	assert_text(field(o, "v"), want, n);
	json_object_put(o);
}

/* Each character at each place of texts of each length around the size of a vector. */
static void every_character_comes_back_wherever_it_stands(void **state)
{
	char s[17];

	(void)state;
	for (int c = 0; c < 256; c++)
		for (size_t at = 0; at < sizeof s; at++) {
			memset(s, 'a', sizeof s);
			s[at] = (char)c;
			for (size_t len = at + 1; len <= sizeof s; len++)
				assert_comes_back(s, len);
		}
}

static void escapes_are_the_short_ones(void **state)
{
	(void)state;
	logcore_info(cap.log, "\"\\\b\f\n\r\t\x01\x1f/\x7f");
	assert_true(capture_next(&cap));
	assert_non_null(strstr(cap.line, "\"message\":\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f/\x7f\"}\n"));
}

static void what_is_not_utf8_is_replaced(void **state)
{
	static const char *const bad[] = {
		"\x80", "\xc3", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80",
		"\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xff", "\xc3(", "\xe2(\xa1",
	};
	static const char good[] = "\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf "
				   "\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf";
	struct json_object *o;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_comes_back(bad[i], strlen(bad[i]));
		assert_non_null(strstr(cap.line, UTF8_REPLACEMENT));
	}
	logcore_info(cap.log, good);
	o = capture_line(&cap);
	assert_string_equal(text(member(o, "message")), good);
	assert_null(strstr(cap.line, UTF8_REPLACEMENT));
	json_object_put(o);
}

static void random_fields_come_back(void **state)
{
	(void)state;
	random_state = 4;
	for (int round = 0; round < 3000; round++) {
		char bytes[300], want[1000], key[40];
		size_t len = random64() % sizeof bytes, key_len = 1 + random64() % 20, n;
		int64_t number = (int64_t)(random64() >> (random64() & 63));
		uint64_t mask = round % 2 ? UINT64_C(0xff) : UINT64_C(0x7f);
		struct json_object *o;

		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = (char)(random64() & mask);
		for (size_t i = 0; i < key_len; i++)
			key[i] = (char)(1 + random64() % 0x7e);
		key[key_len] = '\0';
		bytes[sizeof bytes - 1] = '\0';
		logcore_info(cap.log, bytes, logcore_kv_strn(key, bytes, len),
			     logcore_kv("a number", number));
		o = capture_line(&cap);
		n = repaired(want, bytes, len);
		assert_text(field(o, key), want, n);
		n = repaired(want, bytes, strlen(bytes));
		assert_text(member(o, "message"), want, n);
		assert_int_equal(json_object_get_int64(field(o, "a number")), number);
		json_object_put(o);
	}
}

int main(void)
{
#define LINE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		LINE(line_is_what_the_documentation_shows),
		LINE(timestamp_is_utc_at_any_second),
		LINE(timestamp_stays_within_four_digits_of_year),
		LINE(timestamp_is_now),
		LINE(integers_of_every_width_come_back),
		LINE(integers_are_exact),
		LINE(doubles_are_the_shortest_text_that_reads_back),
		LINE(random_doubles_read_back_and_are_shortest),
		LINE(powers_of_two_read_back),
		LINE(floats_read_back_as_floats),
		LINE(doubles_have_a_point_in_any_locale),
		LINE(nulls_are_null),
		LINE(every_character_comes_back_wherever_it_stands),
		LINE(escapes_are_the_short_ones),
		LINE(what_is_not_utf8_is_replaced),
		LINE(random_fields_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
