/* The verdict on a failure, and the wait before the next attempt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/pg/pg_verdict.c"

static void each_sqlstate_has_its_verdict(void **state)
{
	static const struct {
		const char *sqlstate;
		enum pg_verdict verdict;
	} cases[] = {
		{ NULL, PG_RETRY }, { "08006", PG_RETRY }, { "57P01", PG_RETRY }, { "57P03", PG_RETRY },
		{ "40P01", PG_RETRY }, { "25006", PG_RETRY }, { "53300", PG_BUSY }, { "53200", PG_TOO_MUCH },
		{ "57014", PG_TOO_MUCH }, { "54000", PG_DATA }, { "22P02", PG_DATA }, { "23514", PG_DATA },
		{ "28P01", PG_WAIT }, { "28000", PG_WAIT }, { "42501", PG_WAIT }, { "53100", PG_WAIT },
		{ "OB001", PG_FENCED }, { "OB002", PG_MOVED },
	};
	const char *hint;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(pg_judge(cases[i].sqlstate, &hint), cases[i].verdict);
}

/* The longest and the mean of many waits, in ms. */
static void waits(enum pg_verdict verdict, bool slow, int failures, int64_t *ret_most, int64_t *ret_mean)
{
	int64_t sum = 0;

	*ret_most = 0;
	for (int i = 0; i < 2000; i++) {
		int64_t ms = pg_backoff_us(verdict, slow, failures) / US_PER_MS;

		sum += ms;
		*ret_most = ms > *ret_most ? ms : *ret_most;
	}
	*ret_mean = sum / 2000;
}

static void waits_are_bounded_and_spread(void **state)
{
	static const struct {
		enum pg_verdict verdict;
		bool slow;
		int failures;
		int64_t most, mean_low, mean_high;
	} cases[] = {
		{ PG_RETRY, false, 0, 550, 200, 400 },
		{ PG_RETRY, false, 1000, 1250, 500, 800 },      /* rows 2 s after the server is back */
		{ PG_RETRY, true, 1000, 8050, 3000, 5000 },
		{ PG_BUSY, false, 0, 4050, 1500, 2500 },
		{ PG_BUSY, false, 50, 15050, 6500, 8500 },      /* full jitter: the mean is half the cap */
		{ PG_WAIT, false, 3, 60000, 40000, 50000 },
		{ PG_MOVED, false, 0, 0, 0, 0 },
		{ PG_DATA, false, 10, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int64_t most, mean;

		waits(cases[i].verdict, cases[i].slow, cases[i].failures, &most, &mean);
		assert_true(most <= cases[i].most);
		assert_in_range(mean, cases[i].mean_low, cases[i].mean_high);
	}
}

static void a_refusal_has_its_sqlstate_in_its_text(void **state)
{
	static const char said[] = "connection to server at \"10.0.0.1\", port 5432 failed: FATAL:  28P01: "
				   "password authentication failed for user \"u\"\n"
				   "LOCATION:  auth_failed, auth.c:335\n";
	char code[6];

	(void)state;
	assert_string_equal(pg_state_in(said, code), "28P01");
	assert_null(pg_state_in("connection refused", code));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_sqlstate_has_its_verdict),
		cmocka_unit_test(waits_are_bounded_and_spread),
		cmocka_unit_test(a_refusal_has_its_sqlstate_in_its_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
