/* Times as programs write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "wire/log/log_time.c"

static struct zone kolkata, berlin;
static int64_t now_us;

static int set_up(void **state)
{
	struct err e;

	(void)state;
	assert_true(parse_rfc3339(TEXT("2026-11-30T07:00:00Z"), &now_us));
	assert_int_equal(zone_load(&kolkata, "Asia/Kolkata", &e), 0);
	return zone_load(&berlin, "Europe/Berlin", &e);
}

static int64_t utc(const char *s)
{
	int64_t us;

	assert_true(parse_rfc3339(text_of(s), &us));
	return us;
}

static void expect(const struct zone *z, const char *line, size_t len, const char *want)
{
	struct log_clock c = { .zone = z, .now_us = now_us };
	struct log_time t;
	char out[RFC3339_SIZE];

	if (!log_time_begins(&c, text_of(line), &t))
		fail_msg("no time: %s", line);
	format_rfc3339(out, t.us);
	if (t.us != utc(want) || t.len != len)
		fail_msg("%s: %s, %zu bytes", line, out, t.len);
}

/* The examples in the table are what the documentation shows. */
static void every_form_reads_its_own_example(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORMS; i++) {
		struct log_clock c = { .zone = &kolkata, .now_us = now_us };
		struct log_time t;

		if (!log_time_begins(&c, text_of(forms[i].example), &t) || t.len != strlen(forms[i].example))
			fail_msg("%s", forms[i].example);
		if (c.likely != i)
			fail_msg("%s is read by %s", forms[i].example, forms[c.likely].form);
		if (t.us < utc("2026-11-29T18:30:00Z") || t.us > now_us)
			fail_msg("%s", forms[i].example);
	}
}

static void times_are_read_to_the_microsecond_and_to_their_end(void **state)
{
	(void)state;
	expect(&kolkata, "2026-11-30T06:30:55.451Z shop:http", 24, "2026-11-30T06:30:55.451Z");
	expect(&kolkata, "2026-11-30 12:00:01,123 - shop", 23, "2026-11-30T06:30:01.123Z");
	expect(&kolkata, "2026-11-30 12:08:46.886 IST,,,", 27, "2026-11-30T06:38:46.886Z");
	expect(&kolkata, "2026-11-30 12:10:09 +0530]", 25, "2026-11-30T06:40:09Z");
	expect(&kolkata, "2026-11-30 12:10:09+05 x", 22, "2026-11-30T07:10:09Z");
	expect(&kolkata, "2026-11-30 06:10:09 UTC x", 23, "2026-11-30T06:10:09Z");
	expect(&kolkata, "2026-11-30T11:00:00.758088984+05:30 stdout", 35, "2026-11-30T05:30:00.758088Z");
	expect(&kolkata, "30/Nov/2026:12:07:43 +0530] \"GET", 26, "2026-11-30T06:37:43Z");
	expect(&kolkata, "Nov  3 12:10:45 web1", 15, "2026-11-03T06:40:45Z");
	expect(&kolkata, "Nov 30 12:10:45 web1", 15, "2026-11-30T06:40:45Z");
	expect(&kolkata, "Dec 31 12:10:45 web1", 15, "2025-12-31T06:40:45Z");
	expect(&kolkata, "Mon Nov 30 12:07:38.935036 2026] [", 31, "2026-11-30T06:37:38.935036Z");
	expect(&kolkata, "Nov 30, 2026 12:00:15 AM com", 24, "2026-11-29T18:30:15Z");
	expect(&kolkata, "Nov 30, 2026 12:00:15 PM com", 24, "2026-11-30T06:30:15Z");
	expect(&kolkata, "30-Nov-2026 12:02:52 Asia/Kolkata] x", 33, "2026-11-30T06:32:52Z");
	expect(&kolkata, "12:04:11.783: cache", 12, "2026-11-30T06:34:11.783Z");
	expect(&kolkata, "23:04:11 cache", 8, "2026-11-29T17:34:11Z");
	expect(&kolkata, "1130 12:04:11.783123 77 a.go", 20, "2026-11-30T06:34:11.783123Z");
	expect(NULL, "2026-11-30 05:00:01", 19, "2026-11-30T05:00:01Z");
	expect(&kolkata, "2026-11-30T12:00:60Z", 20, "2026-11-30T12:00:59.999999Z");
}

static void what_only_looks_like_a_time_is_none(void **state)
{
	static const char *const lines[] = {
		"2026-11-31 12:00:01",  "2026-13-01 12:00:01",  "2026-11-30 24:00:01",
		"2026-11-30 12:60:01",  "1999-12-31 23:00:00",  "2026-12-02 12:00:00",
		"2026-11-30 12:00:01x", "30 Foo 2026 12:00:00", "Nov 30 2026",
		"2026-11-30",           "192.168.1.1:8080",     "Mon, 99 Nov 2026 12:00:01 GMT",
		"1.2.3.4 12:00:00",     "Mayor 12 12:00:00",    "2026-02-29 12:00:00",
		"12:34:56:78:9a:bc",
	};

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct log_clock c = { .zone = &kolkata, .now_us = now_us };
		struct log_time t;

		if (log_time_begins(&c, text_of(lines[i]), &t))
			fail_msg("%s", lines[i]);
	}
}

static void an_hour_that_occurs_twice_is_decided_by_order(void **state)
{
	struct log_clock c = { .zone = &berlin, .now_us = now_us };
	struct log_time t;

	(void)state;
	assert_true(log_time_begins(&c, TEXT("2026-10-25 02:30:00"), &t));
	assert_int_equal(t.us, utc("2026-10-25T00:30:00Z"));
	c.last_us = utc("2026-10-25T00:50:00Z");
	assert_true(log_time_begins(&c, TEXT("2026-10-25 02:10:00"), &t));
	assert_int_equal(t.us, utc("2026-10-25T01:10:00Z"));
	c.last_us = utc("2026-10-25T00:10:20Z");                /* another thread was quicker */
	assert_true(log_time_begins(&c, TEXT("2026-10-25 02:10:00"), &t));
	assert_int_equal(t.us, utc("2026-10-25T00:10:00Z"));
	assert_true(log_time_begins(&c, TEXT("2026-03-29 02:30:00"), &t));      /* there is no such time */
	assert_int_equal(t.us, utc("2026-03-29T01:30:00Z"));
}

static void numbers_are_seconds_to_nanoseconds(void **state)
{
	struct log_clock c = { .now_us = now_us };
	int64_t us;

	(void)state;
	assert_true(log_time_is(&c, TEXT("1796019839562"), &us));
	assert_int_equal(us, 1796019839562000);
	assert_true(log_time_is(&c, TEXT("1796019984084019"), &us));
	assert_int_equal(us, 1796019984084019);
	assert_true(log_time_is(&c, TEXT("1796019898"), &us));
	assert_int_equal(us, 1796019898000000);
	assert_false(log_time_is(&c, TEXT("17"), &us));
	assert_false(log_time_is(&c, TEXT("1e300"), &us));
}

static void a_zone_that_is_unknown_is_refused(void **state)
{
	static const char *const names[] = { "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "a b", "" };
	struct zone z;
	struct err e;

	(void)state;
	for (size_t i = 0; i + 1 < sizeof names / sizeof *names; i++)
		assert_int_equal(zone_load(&z, names[i], &e), -ENOENT);
	assert_int_equal(zone_load(&z, "", &e), 0);
}

static void a_zone_that_the_text_names_is_used(void **state)
{
	struct zones zones = { .n = 0 };
	struct log_clock c = { .zone = &kolkata, .zones = &zones, .now_us = now_us };
	struct log_time t;

	(void)state;
	assert_true(log_time_begins(&c, TEXT("30-Nov-2026 07:02:52 Europe/Berlin] PHP Warning"), &t));
	assert_int_equal(t.us, utc("2026-11-30T06:02:52Z"));
	assert_true(
		log_time_begins(&c, TEXT("30-Nov-2026 01:02:52 America/Argentina/ComodRivadavia] x"), &t));
	assert_int_equal(t.us, utc("2026-11-30T04:02:52Z"));
	assert_true(log_time_begins(&c, TEXT("30-Nov-2026 12:02:52 Asia/Kolkata] x"), &t));
	assert_int_equal(t.us, utc("2026-11-30T06:32:52Z"));
	assert_int_equal(zones.n, 2);
	zones_free(&zones);
}

static void what_is_no_zone_stays_behind_the_time(void **state)
{
	static const char *const lines[] = { "2026-11-30 12:02:52 src/main.c failed",
					     "2026-11-30 12:02:52 Europe/Brlin: x",
					     "2026-11-30 12:02:52 Europe/ x",
					     "2026-11-30 12:02:52 Europe/../Europe/Berlin" };
	struct zones zones = { .n = 0 };
	struct log_clock c = { .zone = &kolkata, .zones = &zones, .now_us = now_us };
	struct log_time t;

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		assert_true(log_time_begins(&c, text_of(lines[i]), &t));
		assert_int_equal(t.us, utc("2026-11-30T06:32:52Z"));
		assert_int_equal(t.len, strlen("2026-11-30 12:02:52"));
	}
	assert_int_equal(zones.n, 0);
}

static void lines_can_load_a_bounded_number_of_zones(void **state)
{
	struct zones zones = { .n = 0 };
	struct err e;

	(void)state;
	while (zones.n < ZONES_MAX) {
		zones.zone[zones.n] = malloc(sizeof *zones.zone[0]);
		zones.zone[zones.n++]->name[0] = '\0';
	}
	assert_null(zones_find(&zones, TEXT("Europe/Paris"), &e));
	assert_int_equal(e.code, E2BIG);
	zones_free(&zones);
	assert_non_null(zones_find(&zones, TEXT("Europe/Paris"), &e));
	assert_null(zones_find(&zones, TEXT("Europe"), &e));            /* a folder */
	assert_int_equal(e.code, ENOENT);
	zones_free(&zones);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_reads_its_own_example),
		cmocka_unit_test(times_are_read_to_the_microsecond_and_to_their_end),
		cmocka_unit_test(what_only_looks_like_a_time_is_none),
		cmocka_unit_test(an_hour_that_occurs_twice_is_decided_by_order),
		cmocka_unit_test(numbers_are_seconds_to_nanoseconds),
		cmocka_unit_test(a_zone_that_is_unknown_is_refused),
		cmocka_unit_test(a_zone_that_the_text_names_is_used),
		cmocka_unit_test(what_is_no_zone_stays_behind_the_time),
		cmocka_unit_test(lines_can_load_a_bounded_number_of_zones),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
