/* The verdict on a failure, and the wait before the next attempt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/pg/pg_verdict.c"

static void each_sqlstate_has_its_verdict_and_cause(void **state)
{
	static const struct {
		const char *sqlstate;
		enum pg_verdict verdict;
		enum pg_cause cause;
	} cases[] = {
		{ NULL, PG_RETRY, PG_CAUSE_SERVER },      { "", PG_RETRY, PG_CAUSE_SERVER },
		{ "08006", PG_RETRY, PG_CAUSE_SERVER },   { "57P01", PG_RETRY, PG_CAUSE_SERVER },
		{ "57P03", PG_RETRY, PG_CAUSE_SERVER },   { "58030", PG_RETRY, PG_CAUSE_SERVER },
		{ "25006", PG_RETRY, PG_CAUSE_SERVER },   { "53300", PG_BUSY, PG_CAUSE_SERVER },
		{ "53200", PG_TOO_MUCH, PG_CAUSE_SERVER }, { "53100", PG_WAIT, PG_CAUSE_SERVER },
		{ "53400", PG_RETRY, PG_CAUSE_SERVER },   { "57014", PG_TOO_MUCH, PG_CAUSE_TIME_LIMIT },
		{ "40P01", PG_RETRY, PG_CAUSE_OTHER },    { "40001", PG_RETRY, PG_CAUSE_OTHER },
		{ "55P03", PG_RETRY, PG_CAUSE_OTHER },    { "54000", PG_DATA, PG_CAUSE_OTHER },
		{ "22P02", PG_DATA, PG_CAUSE_OTHER },     { "23514", PG_DATA, PG_CAUSE_OTHER },
		{ "42601", PG_RETRY, PG_CAUSE_OTHER },    { "28P01", PG_WAIT, PG_CAUSE_LOGIN },
		{ "28000", PG_WAIT, PG_CAUSE_LOGIN },     { "42501", PG_WAIT, PG_CAUSE_RIGHT },
		{ "42883", PG_WAIT, PG_CAUSE_SCHEMA },    { "42703", PG_WAIT, PG_CAUSE_SCHEMA },
		{ "42P01", PG_WAIT, PG_CAUSE_SCHEMA },    { "3F000", PG_WAIT, PG_CAUSE_SCHEMA },
		{ "3D000", PG_WAIT, PG_CAUSE_SCHEMA },    { "OB001", PG_FENCED, PG_CAUSE_OTHER },
		{ "OB002", PG_MOVED, PG_CAUSE_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pg_judgement j = pg_judge(cases[i].sqlstate);

		if (j.verdict != cases[i].verdict || j.cause != cases[i].cause)
			fail_msg("%s", cases[i].sqlstate);
		assert_true(j.hint || j.verdict != PG_WAIT);    /* somebody must act: say how */
	}
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

#define AT "connection to server at \"10.0.0.1\", port 5432 failed: "

static void a_refused_connection_is_judged_by_its_sqlstate(void **state)
{
	static const struct {
		const char *message, *sqlstate;
		enum pg_verdict verdict;
		enum pg_cause cause;
		const char *sentence;
	} cases[] = {
		{ AT "FATAL:  28P01: password authentication failed for user \"u\"\n"
		  "LOCATION:  auth_failed, auth.c:335\n",
		  "28P01", PG_WAIT, PG_CAUSE_LOGIN,
		  AT "FATAL: 28P01: password authentication failed for user \"u\"; " CHECK_LOGIN },
		{ AT "FATAL:  3D000: database \"x\" does not exist\n", "3D000", PG_WAIT, PG_CAUSE_SCHEMA,
		  AT "FATAL: 3D000: database \"x\" does not exist; create the database and run schema.sql in "
		  "it" },
		{ AT "FATAL:  08P01: no such user: u\n", "08P01", PG_WAIT, PG_CAUSE_LOGIN,
		  AT "FATAL: 08P01: no such user: u; " CHECK_LOGIN },
		{ AT "FATAL:  08P01: server login has been failing, try again later\n", "08P01", PG_RETRY,
		  PG_CAUSE_SERVER, AT "FATAL: 08P01: server login has been failing, try again later" },
		{ AT "fe_sendauth: no password supplied\n", "", PG_WAIT, PG_CAUSE_LOGIN,
		  AT "fe_sendauth: no password supplied; " CHECK_LOGIN },
		{ AT "FATAL:  22023: a word that an impostor chose\n", "22023", PG_RETRY, PG_CAUSE_OTHER,
		  AT "FATAL: 22023: a word that an impostor chose" },
		{ AT "FATAL:  OB001: give up\n", "OB001", PG_RETRY, PG_CAUSE_OTHER, NULL },
		{ AT "Connection refused\n", "", PG_RETRY, PG_CAUSE_SERVER, AT "Connection refused" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pg_refusal r;

		pg_judge_refusal(cases[i].message, &r);
		assert_string_equal(r.state, cases[i].sqlstate);
		assert_int_equal(r.judgement.verdict, cases[i].verdict);
		assert_int_equal(r.judgement.cause, cases[i].cause);
		if (cases[i].sentence)
			assert_string_equal(r.sentence, cases[i].sentence);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_sqlstate_has_its_verdict_and_cause),
		cmocka_unit_test(waits_are_bounded_and_spread),
		cmocka_unit_test(a_refused_connection_is_judged_by_its_sqlstate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
