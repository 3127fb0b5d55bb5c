/* A file's budget of lines, by their own time stamps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "obs_agent/tail/rate_limit.c"

static int64_t passed(struct rate_limit *f, int64_t from_us, int64_t step_us, int n, enum log_level level)
{
	int64_t passed = 0;

	for (int i = 0; i < n; i++)
		passed += rate_limit_passes(f, 100, from_us + i * step_us, level);
	return passed;
}

static void what_was_written_calmly_passes_however_fast_it_is_read(void **state)
{
	struct rate_limit f = { 0 };

	(void)state;
	assert_int_equal(passed(&f, 1000 * US_PER_S, US_PER_S / 100, 10000, LEVEL_INFO), 10000);
	assert_int_equal(passed(&f, 2000 * US_PER_S, US_PER_S / 200, 10000, LEVEL_INFO), 5000);
}

static void severe_lines_have_ten_times_the_room(void **state)
{
	struct rate_limit f = { 0 };

	(void)state;
	assert_int_equal(passed(&f, 1000 * US_PER_S, 0, 5000, LEVEL_INFO), 100);
	assert_int_equal(passed(&f, 1000 * US_PER_S, 0, 5000, LEVEL_WARNING), 1000);
	assert_int_equal(passed(&f, 1001 * US_PER_S, 0, 5000, LEVEL_CRITICAL), 1000);
	/* late, and its second is used up */
	assert_int_equal(passed(&f, 1000 * US_PER_S, 0, 200, LEVEL_INFO), 0);
	/* one from far ahead takes nothing from others */
	assert_int_equal(passed(&f, 9000 * US_PER_S, 0, 1, LEVEL_INFO), 1);
	assert_int_equal(passed(&f, 1002 * US_PER_S, 0, 200, LEVEL_INFO), 100);
}

static void levels_are_named_the_worst_first(void **state)
{
	struct rate_limit_held c = { .lines[LEVEL_INFO] = 1200, .lines[LEVEL_DEBUG] = 33,
				     .lines[LEVEL_ERROR] = 1 };
	struct buf out = BUF(100);

	(void)state;
	assert_int_equal(rate_limit_held_lines(&c), 1234);
	assert_true(rate_limit_held_detail(&c, &out));
	assert_string_equal(buf_cstr(&out), "1 ERROR, 1200 INFO, 33 DEBUG");
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_calmly_passes_however_fast_it_is_read),
		cmocka_unit_test(severe_lines_have_ten_times_the_room),
		cmocka_unit_test(levels_are_named_the_worst_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
