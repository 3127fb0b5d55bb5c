/* Zones of the time zone database, against the C library's own reading of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <time.h>

#include "common/zone/zone.c"

/* As long as a zone is known (tzif.c). */
#define FIRST_S INT64_C(946598400)
#define LAST_S  INT64_C(2840140800)

enum { STEP_S = 9 * DAY_S + 3 * 3600 };

static struct zone zone;
static struct err err;

static void use_tz(const char *tz)
{
	assert_int_equal(tz ? setenv("TZ", tz, 1) : unsetenv("TZ"), 0);
	tzset();
}

/* Offset and letters at many times of 60 years are what localtime() says. */
static void expect_as_localtime(const char *name)
{
	for (int64_t s = FIRST_S + DAY_S; s < LAST_S; s += STEP_S) {
		const struct zone_change *c = &zone.change[change_at(&zone, s)];
		time_t t = (time_t)s;
		struct tm tm;

		assert_non_null(localtime_r(&t, &tm));
		if (c->east_s != tm.tm_gmtoff || (c->letters[0] && strcmp(c->letters, tm.tm_zone) != 0))
			fail_msg("%s at %lld: %d %s, not %ld %s", name, (long long)s, c->east_s, c->letters,
				 tm.tm_gmtoff, tm.tm_zone);
	}
}

static void every_zone_is_as_the_c_library_has_it(void **state)
{
	FILE *f = fopen("/usr/share/zoneinfo/zone1970.tab", "r");
	char line[512], name[64];
	unsigned zones = 0;

	(void)state;
	if (!f)
		skip();
	while (fgets(line, sizeof line, f)) {
		if (line[0] == '#' || sscanf(line, "%*s\t%*s\t%63s", name) != 1)
			continue;
		use_tz(name);
		if (zone_load(&zone, name, &err) < 0)
			fail_msg("%s: %s", name, err.msg);
		expect_as_localtime(name);
		zones++;
	}
	fclose(f);
	assert_true(zones > 250);
}

static void the_machines_zone_may_be_a_rule_or_a_path(void **state)
{
	static const char *const zones[] = { "CET-1CEST,M3.5.0,M10.5.0/3",
					     "<+0530>-5:30",
					     "EST5EDT",
					     "NZST-12NZDT,M9.5.0,M4.1.0/3",
					     "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
					     "IST-1GMT0,M10.5.0,M3.5.0/1",
					     "XXX3YYY,J60/0,J300",
					     "XXX3YYY,59,299/5:30",
					     ":Europe/Berlin",
					     ":/usr/share/zoneinfo/Asia/Kolkata",
					     "UTC",
					     "UTC0" };

	(void)state;
	for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
		use_tz(zones[i]);
		assert_int_equal(zone_load(&zone, "", &err), 0);
		expect_as_localtime(zones[i]);
	}
	use_tz(NULL);
	assert_int_equal(zone_load(&zone, "", &err), 0);
	expect_as_localtime("/etc/localtime");
}

static void loading_a_zone_leaves_the_environment_alone(void **state)
{
	(void)state;
	use_tz("Asia/Tokyo");
	assert_int_equal(zone_load(&zone, "Europe/Berlin", &err), 0);
	assert_string_equal(getenv("TZ"), "Asia/Tokyo");
	assert_string_equal(tzname[0], "JST");
}

static void what_is_no_zone_gets_a_sentence(void **state)
{
	static const char *const names[] = { "Mars/Olympus", "../../etc/passwd", "/etc/passwd",
					     "a b",          "Europe",           "zone1970.tab" };

	(void)state;
	use_tz("Mars/Olympus");
	assert_int_equal(zone_load(&zone, "", &err), -ENOENT);
	assert_non_null(strstr(err.msg, "TZ=Mars/Olympus"));
	assert_int_equal(zone_utc(&zone, 1000000000, 0), 1000000000);
	use_tz(NULL);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		assert_int_equal(zone_load(&zone, names[i], &err), -ENOENT);
}

static void a_machine_without_the_database_gets_a_sentence(void **state)
{
	(void)state;
	setenv("TZDIR", "/nonexistent", 1);
	assert_int_equal(zone_load(&zone, "Europe/Berlin", &err), -ENODATA);
	assert_non_null(strstr(err.msg, "install tzdata"));
	assert_int_equal(zone_load(&zone, "UTC", &err), 0);
	use_tz("Asia/Tokyo");
	assert_int_equal(zone_load(&zone, "", &err), -ENOENT);
	assert_non_null(strstr(err.msg, "install tzdata"));
	use_tz(NULL);
	unsetenv("TZDIR");
}

/* Each prefix of a file, and each byte of it changed, is a zone or none; nothing else happens. */
static void any_bytes_are_a_zone_or_none(void **state)
{
	static unsigned char bytes[TZIF_BYTES_MAX];
	FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "r");
	size_t len;

	(void)state;
	if (!f)
		skip();
	len = fread(bytes, 1, sizeof bytes, f);
	fclose(f);
	assert_true(tzif_read(&zone, bytes, len));
	for (size_t n = 0; n < len; n++)
		assert_false(tzif_read(&zone, bytes, n));
	for (size_t i = 0; i < len; i++) {
		unsigned char was = bytes[i];

		for (int v = 0; v < 256; v += 51) {
			bytes[i] = (unsigned char)v;
			if (tzif_read(&zone, bytes, len))
				assert_in_range(zone.n, 1, ZONE_CHANGES_MAX);
		}
		bytes[i] = was;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_zone_is_as_the_c_library_has_it),
		cmocka_unit_test(the_machines_zone_may_be_a_rule_or_a_path),
		cmocka_unit_test(loading_a_zone_leaves_the_environment_alone),
		cmocka_unit_test(what_is_no_zone_gets_a_sentence),
		cmocka_unit_test(a_machine_without_the_database_gets_a_sentence),
		cmocka_unit_test(any_bytes_are_a_zone_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
