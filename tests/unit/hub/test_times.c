/* Times in a URL: the hub accepts each form that it shows, and refuses other texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fleet_hub/base/times.c"

/* 2026-11-30T06:30:00Z */
#define NOW_US (INT64_C(1796020200) * US_PER_S)

static void reads(const char *text, const char *expected)
{
	char shown[RFC3339_SIZE] = "nothing";
	int64_t us;

	if (times_read(text_of(text), NOW_US, &us))
		format_rfc3339(shown, us);
	if (strcmp(shown, expected) != 0)
		fail_msg("\"%s\" is %s, expected %s", text, shown, expected);
}

static void times_with_a_zone(void **state)
{
	(void)state;
	reads("2026-11-30T06:00:00+00:00", "2026-11-30T06:00:00.000000Z");
	reads("2026-11-30T06:00:00 00:00", "2026-11-30T06:00:00.000000Z");
	reads("2026-11-30T06:00:00.123456 00:00", "2026-11-30T06:00:00.123456Z");
	reads("2026-11-30T06:00:00Z", "2026-11-30T06:00:00.000000Z");
	reads("2026-11-30t06:00:00z", "2026-11-30T06:00:00.000000Z");
	reads("2026-11-30T06:00Z", "2026-11-30T06:00:00.000000Z");
	reads("2026-11-30T06:00:00+0530", "2026-11-30T00:30:00.000000Z");
	reads("2026-11-30T06:00:00 0530", "2026-11-30T00:30:00.000000Z");
	reads("2026-11-30T06:00:00+05:30", "2026-11-30T00:30:00.000000Z");
	reads("2026-11-30T06:00:00-08", "2026-11-30T14:00:00.000000Z");
	reads("2026-11-30 06:00:00+00", "2026-11-30T06:00:00.000000Z");
	reads("2026-11-30 06:00:00 UTC", "2026-11-30T06:00:00.000000Z");
}

static void times_without_a_zone_are_utc(void **state)
{
	(void)state;
	reads("2026-11-30T06:00", "2026-11-30T06:00:00.000000Z");
	reads("2026-11-30 06:00:01", "2026-11-30T06:00:01.000000Z");
	reads("2026-11-30 06:00:01,25", "2026-11-30T06:00:01.250000Z");
	reads("2026-11-30", "2026-11-30T00:00:00.000000Z");
}

static void times_as_the_pages_show_them(void **state)
{
	(void)state;
	reads("06:00", "2026-11-30T06:00:00.000000Z");
	reads("06:00:01.250", "2026-11-30T06:00:01.250000Z");
	reads("06:32", "2026-11-29T06:32:00.000000Z");
	reads("11-30 06:00:01.250", "2026-11-30T06:00:01.250000Z");
	reads("12-01 06:00", "2025-12-01T06:00:00.000000Z");
	reads("Nov 30 06:00", "2026-11-30T06:00:00.000000Z");
	reads("Nov 29 23:59:59", "2026-11-29T23:59:59.000000Z");
	reads("Nov 29", "2026-11-29T00:00:00.000000Z");
	reads("Dec 01 00:00", "2025-12-01T00:00:00.000000Z");
	reads("02-29 12:00", "2024-02-29T12:00:00.000000Z");
}

static void seconds_since_1970(void **state)
{
	(void)state;
	reads("1796018400", "2026-11-30T06:00:00.000000Z");
	reads("1796018400.25", "2026-11-30T06:00:00.250000Z");
	reads("1796018400250", "2026-11-30T06:00:00.250000Z");
	reads("1796018400250001", "2026-11-30T06:00:00.250001Z");
}

static void texts_that_are_no_time_are_refused(void **state)
{
	static const char *const none[] = {
		"",
		" ",
		"now",
		"-",
		"x",
		"2026",
		"20261130",
		"2026-13-01",
		"2026-02-30",
		"2026-11-30T",
		"2026-11-30T06",
		"2026-11-30T6:00",
		"2026-11-30T06:00:00+",
		"2026-11-30T06:00:00+1",
		"2026-11-30T06:00:00+99:00",
		"2026-11-30T06:00:00Zx",
		"2026-11-30T25:00",
		"2026-11-30T06:61",
		"2026-11-30T06:00:00.",
		"2026-11-30T06:00:00.1234567890",
		"06:00:",
		"6:00",
		"Nov",
		"Nov 31 06:00",
		"Abc 30 06:00",
		"02-30 06:00",
		"99999999999999999999",
		"1796018400.",
		"1796018400.2.5",
		"1796018400250.5",
		"-1796018400",
		"infinity",
		"NaN",
		"2026-11-30T06:00:00Z; DROP TABLE agents",
		"1e9",
		"2026-11-30T06:00:00.000000000000000000000000000000000000000000000000000000",
	};

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		reads(none[i], "nothing");
	assert_false(times_read((struct text){ "2026-11-30\0T06:00", 16 }, NOW_US, &(int64_t){ 0 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_with_a_zone),
		cmocka_unit_test(times_without_a_zone_are_utc),
		cmocka_unit_test(times_as_the_pages_show_them),
		cmocka_unit_test(seconds_since_1970),
		cmocka_unit_test(texts_that_are_no_time_are_refused),
	};

	return cmocka_run_group_tests_name("times", tests, NULL, NULL);
}
