/* Health checks over time: intervals, limit of parallel runs, reload and bounds, also if targets hang. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "check_fixture.h"
#include "common/parse.h"

#include <sys/resource.h>

/* ---- schedules ----------------------------------------------------------------------------- */

static void runs_are_an_interval_apart_and_spread(void **state)
{
	struct checks all = { .once = false };
	struct check_config c = { .interval_us = 60 * US_PER_S };
	struct check k = { .all = &all, .c = &c, .hash = 12345678901234567 };
	int64_t due;

	(void)state;
	k.due_us = 1000 * US_PER_S;
	due = next_due(&k);
	assert_in_range(due - k.due_us, 30 * US_PER_S, 90 * US_PER_S);
	k.due_us = due;
	for (int i = 1; i < 1000; i++) {
		k.due_us = next_due(&k);
		assert_int_equal(k.due_us, due + i * c.interval_us);
	}
	for (k.hash = 0; k.hash < 1000; k.hash++)
		assert_in_range(first_due(&k, 0), 0, 5 * US_PER_S);
}

static void a_retry_never_reaches_into_the_next_run(void **state)
{
	struct checks all = { .once = false };
	struct check_config c = { .interval_us = 10 * US_PER_S, .timeout_us = 3 * US_PER_S, .retries = 2,
				  .retry_interval_us = US_PER_S };
	struct check k = { .all = &all, .c = &c, .attempts = 1 };

	(void)state;
	assert_true(retry_fits(&k, 6 * US_PER_S)); /* 6 + 1 + 3: just over when the next begins */
	assert_false(retry_fits(&k, 6 * US_PER_S + 1));
	k.attempts = 3;
	assert_false(retry_fits(&k, 0));
}

/* Times between the beginnings of a check's runs: none differs by more than 100 ms. */
static size_t assert_rhythm(const struct check_config *c)
{
	int64_t last = 0;
	size_t n = 0;

	for (size_t i = 0; i < agent.n; i++) {
		const struct sample *s = &agent.kept[i].s;

		if (s->kind != SAMPLE_CHECK || strcmp(s->check.url.s, c->url) != 0)
			continue;
		/* If the first run had to wait, the next scheduled one follows at once. */
		if (++n > 3)
			assert_true(llabs(s->timestamp_us - last - c->interval_us) <= allowed_us());
		last = s->timestamp_us;
	}
	return n;
}

static size_t results_of(const struct check_config *c)
{
	size_t n = 0;

	for (size_t i = 0; i < agent.n; i++)
		n += agent.kept[i].s.kind == SAMPLE_CHECK && strcmp(agent.kept[i].s.check.url.s, c->url) == 0;
	return n;
}

static void run_for(int64_t us)
{
	loop_until(&agent, KEPT_MAX, us);
}

/* Wait until each of the n checks from c on has that many results. */
static void run_until(const struct check_config *c, size_t n, size_t results)
{
	int64_t end = mono_us() + PATIENCE_US;

	for (size_t i = 0; i < n; i++)
		while (results_of(&c[i]) < results && mono_us() < end)
			run_for(20 * US_PER_MS);
	assert_true(mono_us() < end);
}

static void a_changed_outcome_is_news(void **state)
{
	static const bool news[] = { true, false, true, false, true, false };
	struct check_config *c = add_check(server.http, "ok");

	(void)state;
	c->interval_us = slow(100 * US_PER_MS);
	begin_checks();
	for (size_t i = 0; i < sizeof news; i++) {
		c->expect_status[0] =
			i / 2 == 1 ? (struct status_range){ 500, 599 } : (struct status_range){ 200, 299 };
		assert_true(loop_until(&agent, i + 1, PATIENCE_US));
		assert_int_equal(agent.kept[i].s.check.error, i / 2 == 1 ? CHECK_STATUS : CHECK_OK);
		assert_int_equal(agent.kept[i].s.check.changed, news[i]);
	}
}

static void a_name_server_that_hangs_delays_no_other_check(void **state)
{
	struct check_config *good = add_check(server.http, "ok"), *hangs[3];

	(void)state;
	good->interval_us = slow(200 * US_PER_MS);
	for (int i = 0; i < 3; i++) {
		char url[64];

		snprintf(url, sizeof url, "http://hangs.test/%d", i);
		hangs[i] = add_url(url);
		hangs[i]->interval_us = slow(500 * US_PER_MS);
		hangs[i]->timeout_us = slow(150 * US_PER_MS);
	}
	begin_checks();
	run_until(good, 1, 8);
	run_until(hangs[0], 3, 4);
	assert_true(assert_rhythm(good) >= 8);
	assert_result(good, CHECK_OK, "");
	for (int i = 0; i < 3; i++) {
		assert_true(assert_rhythm(hangs[i]) >= 4);
		assert_result(hangs[i], CHECK_DNS, "not resolved within");
	}
	assert_true(__atomic_load_n(&resolving, __ATOMIC_SEQ_CST) >= 6);        /* they still hang */
	src_check.stop(source);                                 /* stopping does not wait for them */
	source = NULL;
	assert_true(agent.latest_us < allowed_us());
}

static void resolvers_that_hang_are_bounded(void **state)
{
	struct check_config *good = add_check(server.http, "ok");
	int most = 0;

	(void)state;
	good->interval_us = slow(200 * US_PER_MS);
	for (int i = 0; i < 100; i++) {
		char url[64];
		struct check_config *c;

		snprintf(url, sizeof url, "http://hangs.test/%d", i);
		c = add_url(url);
		c->timeout_us = slow(50 * US_PER_MS);
	}
	begin_checks();
	for (size_t i = 1; i < source->n; i++)                  /* all in the queue before the first ends */
		source->check[i]->due_us = source->check[i]->wake_us = mono_us();
	arm(source);
	for (int i = 0; i < 20; i++) {
		int now;

		run_for(slow(100 * US_PER_MS));
		now = __atomic_load_n(&resolving, __ATOMIC_SEQ_CST);
		most = now > most ? now : most;
	}
	assert_in_range(most, CHECK_THREADS_SLOW - 4, CHECK_THREADS_SLOW + MAX_PARALLEL);
	run_until(good, 1, 5);
	assert_true(assert_rhythm(good) >= 5);
	assert_result(good, CHECK_OK, "");
	assert_true(source->skipped > 0);
}

static int peak_hanging(void)
{
	char command[128];
	int peak = -1;
	FILE *f;

	snprintf(command, sizeof command, "curl -s http://127.0.0.1:%d/peak_hanging", server.http);
	f = popen(command, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &peak), 1);
	pclose(f);
	return peak;
}

/* Of all but the first check. */
static size_t least_results(void)
{
	size_t n[CHECKS_MAX] = { 0 }, least = SIZE_MAX;

	for (size_t j = 0; j < agent.n; j++) {
		const char *at = agent.kept[j].s.kind == SAMPLE_CHECK
					 ? strstr(agent.kept[j].s.check.url.s, "hang?")
					 : NULL;
		uint64_t which;

		if (at && parse_u64(text_of(at + strlen("hang?")), &which))
			n[which]++;
	}
	for (size_t i = 0; i + 1 < agent.config.n_checks; i++)
		least = n[i] < least ? n[i] : least;
	return least;
}

static void five_hundred_that_hang_keep_cap_and_intervals(void **state)
{
	struct check_config *good = add_check(server.http, "ok");
	int64_t began = mono_us(), took;
	size_t least = 0, most = 0, running;

	(void)state;
	good->interval_us = slow(250 * US_PER_MS);
	for (int i = 0; i < 500; i++) {
		char path[32];
		struct check_config *c;

		snprintf(path, sizeof path, "hang?%d", i);
		c = add_check(server.http, path);
		c->interval_us = slow(4 * US_PER_S);            /* 500 * 60 ms in 12 slots: 2.5 s */
		c->timeout_us = slow(60 * US_PER_MS);
	}
	begin_checks();
	for (size_t seen = 0; least < 2 || results_of(good) < 20; seen = agent.n) {
		assert_true(mono_us() - began < PATIENCE_US);
		assert_true(sd_event_run(agent.loop, (uint64_t)PATIENCE_US) >= 0);
		running = curl_glue_running(source->glue);
		most = running > most ? running : most;
		if (agent.n > seen)
			least = least_results();
	}
	took = mono_us() - began;
	assert_true(assert_rhythm(good) >= 20);
	for (size_t i = 1; i < agent.config.n_checks; i++)
		assert_result(&configs[i], CHECK_TIMEOUT,
			      " within ");      /* 60 ms may be over before it is connected */
	/* counted by the agent: the server notices late that a client gave up */
	assert_in_range(most, 8, MAX_PARALLEL);
	assert_true(peak_hanging() >= 8);
	assert_true(took < slow(12 * US_PER_S) + stalls_us());
	assert_true((int64_t)source->skipped <= allowed_us() / good->interval_us);
}

/* More targets hang than there are slots, each longer than the interval of the good check. */
static void skipped_runs_are_counted_and_the_good_check_is_on_time(void **state)
{
	struct check_config *good = add_check(server.http, "ok");
	size_t gaps = 0;

	(void)state;
	good->interval_us = slow(200 * US_PER_MS);
	for (int i = 0; i < 60; i++) {
		char path[32];
		struct check_config *c;

		snprintf(path, sizeof path, "hang?%d", i);
		c = add_check(server.http, path);
		c->interval_us = slow(600 * US_PER_MS);         /* 60 * 500 ms in 12 slots: 2.5 s */
		c->timeout_us = slow(500 * US_PER_MS);
	}
	begin_checks();
	run_until(good, 1, 20);
	assert_true(assert_rhythm(good) >= 20);
	for (size_t i = 0; i < agent.n; i++)
		if (agent.kept[i].s.kind == SAMPLE_GAP) {
			gaps++;
			assert_string_equal(agent.kept[i].s.gap.kind, "check_skipped");
			assert_true(agent.kept[i].s.gap.lines > 0);
		}
	assert_int_equal(gaps, 1);                              /* one a minute */
	assert_true(source->skipped > 10);
}

static bool nothing(CURL *easy, CURLcode code, void *data)
{
	(void)easy;
	(void)code;
	(void)data;
	return false;
}

static void both_queues_together_keep_the_limit(void **state)
{
	struct curl_glue *g;
	CURL *easy[60];

	(void)state;
	add_check(server.http, "hang");
	assert_int_equal(curl_glue_new(agent.loop, MAX_PARALLEL, &g, NULL), 0);
	for (int i = 0; i < 60; i++) {
		easy[i] = curl_easy_init();
		curl_easy_setopt(easy[i], CURLOPT_URL, urls[0]);
		assert_int_equal(curl_glue_add(g, easy[i], i % 2 ? CURL_LANE_FAST : CURL_LANE_SLOW, NULL,
					       nothing, NULL, NULL),
				 0);
	}
	run_for(slow(100 * US_PER_MS));
	assert_int_equal(curl_glue_running(g), MAX_PARALLEL);
	assert_int_equal(curl_glue_waiting(g), 60 - MAX_PARALLEL);
	for (int i = 0; i < 40; i++)                            /* started ones and waiting ones */
		curl_glue_remove(g, easy[i]);
	run_for(slow(50 * US_PER_MS));
	assert_int_equal(curl_glue_running(g), MAX_PARALLEL);
	assert_int_equal(curl_glue_waiting(g), 4);
	for (int i = 0; i < 60; i++) {
		curl_glue_remove(g, easy[i]);                   /* again: no harm */
		curl_easy_cleanup(easy[i]);
	}
	assert_int_equal(curl_glue_running(g) + curl_glue_waiting(g), 0);
	curl_glue_free(g);
}

/* ---- reload, bounds ------------------------------------------------------------------------- */

static void reload_keeps_the_schedule_of_what_is_the_same(void **state)
{
	static struct check_config other[4];
	static char same_url[256], changed_url[256];
	struct check_config *same = add_check(server.http, "hang?same"),
			    *gone = add_check(server.http, "hang?gone"),
			    *changed = add_check(server.http, "hang?changed");
	struct attempt *attempt;
	char words[32];
	int64_t due;

	(void)state;
	same->timeout_us = slow(700 * US_PER_MS);
	gone->timeout_us = changed->timeout_us = 3600 * US_PER_S;
	begin_checks();
	for (size_t i = 0; i < 3; i++)
		source->check[i]->due_us = source->check[i]->wake_us = mono_us();
	arm(source);
	for (int i = 0; i < 10 && !source->check[2]->attempt; i++)
		sd_event_run(agent.loop, (uint64_t)slow(100 * US_PER_MS));
	attempt = source->check[0]->attempt;
	due = source->check[0]->due_us;
	assert_non_null(attempt);

	memcpy(same_url, urls[0], sizeof same_url);
	memcpy(changed_url, urls[2], sizeof changed_url);
	other[0] = *changed;
	other[0].url = other[0].shown_url = changed_url;
	other[0].timeout_us = slow(700 * US_PER_MS);
	/* at another address, and another place in the list */
	other[1] = *same;
	other[1].url = other[1].shown_url = same_url;
	other[2] = *same;
	other[2].url = other[2].shown_url = "http://127.0.0.1/new";
	other[2].interval_us = US_PER_S;
	agent.config.checks = other;
	agent.config.n_checks = 3;
	src_check.reload(source);
	memset(urls, 'x', sizeof urls);                         /* the old configuration is gone */
	memset(configs, 0xff, sizeof configs);
	assert_int_equal(source->n, 3);
	assert_ptr_equal(source->check[1]->attempt, attempt);
	assert_int_equal(source->check[1]->due_us, due);
	assert_null(source->check[2]->attempt);
	for (int i = 0;
	     i < 1000 && !(find_result(&other[0]) && find_result(&other[1]) && find_result(&other[2])); i++)
		run_for(slow(100 * US_PER_MS));
	snprintf(words, sizeof words, "within %g s", (double)other[1].timeout_us / (double)US_PER_S);
	assert_result(&other[1], CHECK_TIMEOUT, words);         /* continued, with the new configuration */
	assert_result(&other[0], CHECK_TIMEOUT, "no answer");   /* restarted, with the new timeout */
	assert_int_not_equal(result_of(&other[2])->error, CHECK_OK);

	agent.config.n_checks = 0;
	src_check.reload(source);
	assert_int_equal(source->n, 0);
	assert_int_equal(curl_glue_running(source->glue), 0);
}

static size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void a_thousand_checks_leave_no_descriptor(void **state)
{
	size_t before = 0;

	(void)state;
	for (int i = 0; i < 25; i++) {
		add_check(server.http, "ok");
		add_check(server.dead, "");
		add_check(server.http, "early_close");
		add_url("http://missing.test/");
	}
	for (int round = 0; round < 10; round++) {
		run_once();
		agent_forget(&agent);
		for (size_t i = 0; i < source->n; i++)
			source->check[i]->ran = false;
		source->once = false;
		if (round == 0)
			before = count_fds();
	}
	assert_int_equal(source->results, 1000);
	assert_int_equal(count_fds(), before);
}

/* "Refused" would be wrong: the target was not asked. */
static void a_lack_of_descriptors_is_no_result_of_a_check(void **state)
{
	struct rlimit before, low;

	(void)state;
	add_check(server.http, "ok");
	run_once();
	assert_int_equal(agent.kept[0].s.check.error, CHECK_OK);
	agent_forget(&agent);
	source->check[0]->ran = source->once = false;
	getrlimit(RLIMIT_NOFILE, &before);
	low = (struct rlimit){ 3, before.rlim_max };
	setrlimit(RLIMIT_NOFILE, &low);
	src_check.once(source);
	loop_until(&agent, 1, PATIENCE_US);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(agent.n, 1);
	assert_int_equal(agent.kept[0].s.kind, SAMPLE_GAP);
	assert_string_equal(agent.kept[0].s.gap.kind, "check_skipped");
	assert_int_equal(agent.kept[0].s.gap.lines, 1);
}

static void no_check_means_no_libcurl(void **state)
{
	struct buf b = BUF(1024);

	(void)state;
	begin_checks();
	assert_true(src_check.once(source));
	assert_null(source->glue);
	assert_true(src_check.status(source, &b));
	assert_string_equal(buf_cstr(&b),
			    "{\"checks\":0,\"failing\":0,\"running\":0,\"waiting\":0,\"results\":0,"
			    "\"skipped\":0}");
	buf_free(&b);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(runs_are_an_interval_apart_and_spread),
		TEST(a_retry_never_reaches_into_the_next_run),
		TEST(a_name_server_that_hangs_delays_no_other_check),
		TEST(resolvers_that_hang_are_bounded),
		TEST(five_hundred_that_hang_keep_cap_and_intervals),
		TEST(skipped_runs_are_counted_and_the_good_check_is_on_time),
		TEST(both_queues_together_keep_the_limit),
		TEST(a_changed_outcome_is_news),
		TEST(reload_keeps_the_schedule_of_what_is_the_same),
		TEST(a_thousand_checks_leave_no_descriptor),
		TEST(a_lack_of_descriptors_is_no_result_of_a_check),
		TEST(no_check_means_no_libcurl),
	};

	return cmocka_run_group_tests_name("check schedule", tests, start_server, stop_server);
}
