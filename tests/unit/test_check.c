/* Health checks against a server that does everything wrong (tests/system/bad_http.py), on a
 * real event loop, without the rest of the agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../obs_agent/src_check.c"
#include "fake_agent.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

/* ---- a name server that hangs ------------------------------------------------------------- */

/* libcurl's resolver threads call this one instead of the C library's. */
static int resolving;                           /* threads that hang in here */
static bool let_go;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	__typeof__(&getaddrinfo) real = (__typeof__(&getaddrinfo))dlsym(RTLD_NEXT, "getaddrinfo");

	if (strcmp(name, "missing.test") == 0)
		return EAI_NONAME;
	if (strcmp(name, "hangs.test") != 0)
		return real(name, service, hints, ret);
	__atomic_add_fetch(&resolving, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&let_go, __ATOMIC_SEQ_CST))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	__atomic_sub_fetch(&resolving, 1, __ATOMIC_SEQ_CST);
	return EAI_AGAIN;
}

/* The threads free what they hold when they come out. */
static void let_resolvers_go(void)
{
	__atomic_store_n(&let_go, true, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&resolving, __ATOMIC_SEQ_CST))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	let_go = false;
}

/* ---- the server --------------------------------------------------------------------------- */

static struct {
	int http, self_signed, expired, tls_stall, dead;
	char certs[128];
	FILE *out;
	int stdin_fd;
	pid_t pid;
} server;

static int start_server(void **state)
{
	int in[2], out[2];

	(void)state;
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return -1;
	server.pid = fork();
	if (server.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl("/usr/bin/python3", "python3", "tests/system/bad_http.py", (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	server.stdin_fd = in[1];
	server.out = fdopen(out[0], "r");
	return fscanf(server.out, "http=%d self_signed=%d expired=%d tls_stall=%d dead=%d certs=%127s", &server.http,
		      &server.self_signed, &server.expired, &server.tls_stall, &server.dead, server.certs) == 6 ? 0 : -1;
}

static int stop_server(void **state)
{
	int status;

	(void)state;
	close(server.stdin_fd);
	fclose(server.out);
	return waitpid(server.pid, &status, 0) == server.pid && status == 0 ? 0 : -1;
}

/* ---- a source with some checks --------------------------------------------------------------- */

enum { CHECKS_MAX = 512 };

static struct agent agent;
static struct check_config configs[CHECKS_MAX];
static char urls[CHECKS_MAX][256];
static struct checks *source;

/* Valgrind runs everything on one core and 20 times slower: times get longer, not other. */
static int64_t slow(int64_t us)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload && strstr(preload, "vgpreload") ? 8 * us : us;
}

static int begin(void **state)
{
	(void)state;
	agent_begin(&agent);
	agent.config.vps_name = "web-1";
	agent.config.checks = configs;
	memset(configs, 0, sizeof configs);
	return 0;
}

static int end(void **state)
{
	(void)state;
	if (source)
		src_check.stop(source);
	source = NULL;
	let_resolvers_go();
	agent_end(&agent);
	return 0;
}

/* One more check; the answer can be changed until begin_checks(). */
static struct check_config *add_check(int port, const char *path)
{
	size_t i = agent.config.n_checks++;

	snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%d/%s", port, path);
	configs[i] = (struct check_config){
		.url = urls[i],
		.method = "GET",
		.expect_status = { { 200, 299 } },
		.n_expect_status = 1,
		.interval_us = 3600 * US_PER_S,
		.timeout_us = slow(700 * US_PER_MS),
		.retry_interval_us = slow(10 * US_PER_MS),
		.verify_tls = true,
	};
	return &configs[i];
}

static struct check_config *add_url(const char *url)
{
	struct check_config *c = add_check(0, "");

	snprintf(urls[c - configs], sizeof urls[0], "%s", url);
	return c;
}

static struct check_config *add_tls(int port)
{
	struct check_config *c = add_check(0, "");

	snprintf(urls[c - configs], sizeof urls[0], "https://127.0.0.1:%d/ok", port);
	return c;
}

static void begin_checks(void)
{
	void *s;
	struct err e = { 0 };

	assert_int_equal(src_check.start(&agent, &s, &e), 0);
	source = s;
}

/* Every check once, to its end. */
static void run_once(void)
{
	if (!source)
		begin_checks();
	src_check.once(source);
	assert_true(loop_until(&agent, agent.config.n_checks, slow(20 * US_PER_S)));
	assert_true(src_check.once(source));
}

static const struct check_sample *result_of(const struct check_config *c)
{
	char *url = check_shown_url(c->url);
	const struct check_sample *found = NULL;

	for (size_t i = 0; i < agent.n; i++)
		if (agent.kept[i].s.kind == SAMPLE_CHECK && text_eq(agent.kept[i].s.check.url, text_of(url)))
			found = &agent.kept[i].s.check;
	free(url);
	assert_non_null(found);
	return found;
}

static void assert_result(const struct check_config *c, enum check_error error, const char *words)
{
	const struct check_sample *s = result_of(c);
	const char *message = s->error_message.s ? s->error_message.s : "";

	if (s->error != error || !strstr(message, words))
		fail_msg("%s: wanted %s \"%s\", got %s \"%s\"", c->url, check_error_names[error], words,
			 check_error_names[s->error], message);
	assert_int_equal(s->error == CHECK_OK, s->error_message.s == NULL);
}

/* ---- one run ------------------------------------------------------------------------------ */

static void a_good_answer_has_all_its_figures(void **state)
{
	struct check_config *c = add_check(server.http, "ok");
	const struct check_sample *s;
	int64_t before = wall_us();

	(void)state;
	run_once();
	assert_result(c, CHECK_OK, "");
	s = result_of(c);
	assert_int_equal(s->status_code, 200);
	assert_int_equal(s->attempts, 1);
	assert_true(s->response_ms > 0 && s->dns_ms >= 0 && s->connect_ms >= 0 && s->first_byte_ms >= 0);
	assert_true(isnan(s->tls_ms));
	assert_true(s->dns_ms + s->connect_ms + s->first_byte_ms <= s->response_ms + 0.01);
	assert_int_equal(s->cert_expires_us, 0);
	assert_in_range(agent.kept[0].s.timestamp_us, before, wall_us());
}

/* Path, what is expected of the body, redirects allowed, class, words of the message. */
static const struct bad {
	const char *path, *body;
	int redirects;
	enum check_error error;
	const char *words;
} bad[] = {
	{ "hang", NULL, 0, CHECK_TIMEOUT, "no answer within" },
	{ "slow_headers", NULL, 0, CHECK_TIMEOUT, "not complete within" },
	{ "slow_body", NULL, 0, CHECK_TIMEOUT, "not complete within" },
	{ "slow_body", "needle", 0, CHECK_TIMEOUT, "not complete within" },
	{ "huge_stall", NULL, 0, CHECK_TIMEOUT, "not complete within" },
	{ "endless_body", NULL, 0, CHECK_OK, "" },                      /* the headers have decided */
	{ "endless_body", "needle", 0, CHECK_BODY, "first 1024 KiB" },
	{ "huge", NULL, 0, CHECK_OK, "" },
	{ "huge", "needle", 0, CHECK_BODY, "first 1024 KiB" },
	{ "endless_headers", NULL, 0, CHECK_PROTOCOL, "64 KiB of headers" },
	{ "endless_continue", NULL, 0, CHECK_PROTOCOL, "64 KiB of headers" },
	{ "gzip_bomb", NULL, 0, CHECK_OK, "" },
	{ "gzip_bomb", "needle", 0, CHECK_BODY, "not in the body" },
	{ "loop", NULL, 5, CHECK_PROTOCOL, "Maximum (5) redirects" },
	{ "loop", NULL, 0, CHECK_STATUS, "Status 302" },
	{ "to_ok", "ok", 1, CHECK_OK, "" },
	{ "to_file", NULL, 5, CHECK_PROTOCOL, "\"file\" not supported" },
	{ "to_gopher", NULL, 5, CHECK_PROTOCOL, "\"gopher\" not supported" },
	{ "to_metadata", NULL, 5, CHECK_PROTOCOL, "link-local" },
	{ "to_metadata_6", NULL, 5, CHECK_PROTOCOL, "link-local" },
	{ "to_other_host", NULL, 5, CHECK_OK, "" },
	{ "early_close", NULL, 0, CHECK_PROTOCOL, "outstanding read data remaining" },
	{ "no_answer", NULL, 0, CHECK_PROTOCOL, "Empty reply" },
	{ "reset", NULL, 0, CHECK_PROTOCOL, "reset" },
	{ "http09", NULL, 0, CHECK_PROTOCOL, "HTTP/0.9" },
	{ "garbage", NULL, 0, CHECK_PROTOCOL, "HTTP/0.9" },
	{ "status/404", NULL, 0, CHECK_STATUS, "Status 404" },
	{ "status/503", "x", 0, CHECK_STATUS, "Status 503" },
	{ "body", "needle", 0, CHECK_OK, "" },
	{ "body", "needles", 0, CHECK_BODY, "not in the body (101006 bytes)" },
};

/* All at the same time: each ends at its own deadline with its own class. */
static void every_fault_has_its_class_within_its_deadline(void **state)
{
	const size_t n = sizeof bad / sizeof bad[0];

	(void)state;
	for (size_t i = 0; i < n; i++) {
		char path[64];
		struct check_config *c;

		snprintf(path, sizeof path, "%s?%zu", bad[i].path, i);
		c = add_check(server.http, path);
		c->expect_body = bad[i].body;
		c->max_redirects = bad[i].redirects;
	}
	run_once();
	for (size_t i = 0; i < n; i++) {
		assert_result(&configs[i], bad[i].error, bad[i].words);
		assert_true(result_of(&configs[i])->response_ms < (double)(configs[i].timeout_us / 1000 + slow(100)));
	}
	assert_true(agent.latest_us < slow(100 * US_PER_MS));
}

static void nobody_listening_and_no_such_name_are_told_apart(void **state)
{
	struct check_config *refused = add_check(server.dead, ""), *missing = add_url("http://missing.test/"),
			    *scheme = add_url("ftp://127.0.0.1/");

	(void)state;
	run_once();
	assert_result(refused, CHECK_REFUSED, "Connection refused");
	assert_result(missing, CHECK_DNS, "missing.test");
	assert_result(scheme, CHECK_PROTOCOL, "\"ftp\" not supported");
	assert_true(isnan(result_of(missing)->connect_ms));
}

static int64_t expiry_by_openssl(const char *name)
{
	char command[256], text[64] = "";
	struct tm tm = { 0 };
	FILE *f;

	snprintf(command, sizeof command, "openssl x509 -enddate -noout -in %s/%s.pem", server.certs, name);
	f = popen(command, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof text, f));
	pclose(f);
	assert_non_null(strptime(text, "notAfter=%b %d %H:%M:%S %Y", &tm));
	return (int64_t)timegm(&tm) * US_PER_S;
}

static void certificates_are_judged_and_dated(void **state)
{
	struct check_config *self_signed = add_tls(server.self_signed), *expired = add_tls(server.expired);

	(void)state;
	run_once();
	assert_result(self_signed, CHECK_TLS, "self-signed");
	assert_result(expired, CHECK_TLS, "certificate");
	assert_int_equal(result_of(self_signed)->cert_expires_us, expiry_by_openssl("self_signed"));
	assert_int_equal(result_of(expired)->cert_expires_us, expiry_by_openssl("expired"));
}

static void a_certificate_that_is_not_judged_is_dated_too(void **state)
{
	struct check_config *c = add_tls(server.self_signed);

	(void)state;
	c->verify_tls = false;
	run_once();
	assert_result(c, CHECK_OK, "");
	assert_true(result_of(c)->tls_ms > 0);
	assert_int_equal(result_of(c)->cert_expires_us, expiry_by_openssl("self_signed"));
}

static void a_tls_stall_ends_at_the_deadline(void **state)
{
	struct check_config *c = add_tls(server.tls_stall);

	(void)state;
	run_once();
	assert_result(c, CHECK_TIMEOUT, "TLS handshake");
	assert_true(result_of(c)->response_ms < (double)(c->timeout_us / 1000 + slow(100)));
}

static void secrets_stay_with_us(void **state)
{
	static const char *const headers[] = { "X-Api-Key: topsecret", NULL };
	struct check_config *login = add_url(""), *other = add_check(server.http, "to_other_host"),
			    *same = add_check(server.http, "to_ok"), *sent = add_check(server.http, "echo");

	(void)state;
	snprintf(urls[0], sizeof urls[0], "http://user:pa%%40ss@127.0.0.1:%d/echo?a=b@c", server.http);
	login->expect_body = "not there, so that there is a message";
	other->headers = same->headers = sent->headers = headers;
	other->max_redirects = same->max_redirects = 3;
	sent->expect_body = "X-Api-Key: topsecret\r\n";
	run_once();
	assert_result(sent, CHECK_OK, "");
	assert_result(same, CHECK_OK, "");
	assert_result(other, CHECK_PROTOCOL, "another host");
	for (size_t i = 0; i < agent.n; i++) {
		const struct check_sample *s = &agent.kept[i].s.check;

		assert_null(strstr(s->url.s, "user"));
		assert_null(strstr(s->error_message.s ? s->error_message.s : "", "ss"
			   "@"));
		assert_null(strstr(s->error_message.s ? s->error_message.s : "", "topsecret"));
	}
	assert_non_null(strstr(result_of(login)->url.s, "/echo?a=b@c"));
}

static void the_request_is_plain(void **state)
{
	struct check_config *agent_name = add_check(server.http, "echo?1"), *post = add_check(server.http, "echo?2"),
			    *head = add_check(server.http, "ok?3"), *other = add_check(server.http, "echo?4"),
			    *zip = add_check(server.http, "echo?5");

	(void)state;
	setenv("http_proxy", "http://127.0.0.1:1/", 1);
	agent_name->expect_body = "User-Agent: observ/" OBSERV_VERSION "\r\n";
	post->method = "POST";
	post->expect_body = "Content-Length: 0\r\n";
	head->method = "HEAD";
	other->method = "OPTIONS";
	other->expect_body = "OPTIONS /echo";
	zip->expect_body = "Accept-Encoding";
	run_once();
	unsetenv("http_proxy");
	assert_result(agent_name, CHECK_OK, "");
	assert_result(post, CHECK_OK, "");
	assert_result(head, CHECK_OK, "");
	assert_result(other, CHECK_OK, "");
	assert_result(zip, CHECK_BODY, "not in the body");
}

static void a_failure_counts_after_its_retries(void **state)
{
	struct check_config *dead = add_check(server.dead, ""), *ok = add_check(server.http, "ok");

	(void)state;
	dead->retries = ok->retries = 2;
	run_once();
	assert_int_equal(agent.n, 2);
	assert_int_equal(result_of(dead)->attempts, 3);
	assert_int_equal(result_of(ok)->attempts, 1);
}

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
	assert_true(retry_fits(&k, 6 * US_PER_S));              /* 6 + 1 + 3: just over when the next begins */
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
		/* The way from the first run to the fixed points is as it comes. */
		if (++n > 2)
			assert_true(llabs(s->timestamp_us - last - c->interval_us) <= slow(100 * US_PER_MS));
		last = s->timestamp_us;
	}
	return n;
}

static void run_for(int64_t us)
{
	loop_until(&agent, KEPT_MAX, us);
}

static void a_name_server_that_hangs_delays_nobody_else(void **state)
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
	run_for(slow(2500 * US_PER_MS));
	assert_true(assert_rhythm(good) >= 8);
	assert_result(good, CHECK_OK, "");
	for (int i = 0; i < 3; i++) {
		assert_true(assert_rhythm(hangs[i]) >= 2);
		assert_result(hangs[i], CHECK_DNS, "not resolved within");
	}
	assert_true(__atomic_load_n(&resolving, __ATOMIC_SEQ_CST) >= 6);        /* they hang to this moment */
	src_check.stop(source);                                 /* the end does not wait for them either */
	source = NULL;
	assert_true(agent.latest_us < slow(100 * US_PER_MS));
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

static void five_hundred_that_hang_keep_cap_and_intervals(void **state)
{
	struct check_config *good = add_check(server.http, "ok");
	size_t results = 0, twice = 0;

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
	run_for(slow(12 * US_PER_S));
	assert_true(assert_rhythm(good) >= 20);
	for (size_t i = 1; i < agent.config.n_checks; i++) {
		size_t n = 0;

		for (size_t j = 0; j < agent.n; j++)
			n += agent.kept[j].s.kind == SAMPLE_CHECK &&
			     strcmp(agent.kept[j].s.check.url.s, configs[i].url) == 0;
		results += n;
		twice += n >= 2;
		assert_result(&configs[i], CHECK_TIMEOUT, "no answer");
	}
	assert_int_equal(twice, 500);
	assert_true(results >= 1000);
	assert_in_range(peak_hanging(), 8, MAX_PARALLEL);
	assert_int_equal(source->skipped, 0);
}

static void what_cannot_be_run_is_counted(void **state)
{
	size_t gaps = 0;

	(void)state;
	for (int i = 0; i < 60; i++) {
		char path[32];
		struct check_config *c;

		snprintf(path, sizeof path, "hang?%d", i);
		c = add_check(server.http, path);
		c->interval_us = slow(200 * US_PER_MS);         /* 60 * 100 ms in 12 slots: 0.5 s */
		c->timeout_us = slow(100 * US_PER_MS);
	}
	begin_checks();
	run_for(slow(2 * US_PER_S));
	for (size_t i = 0; i < agent.n; i++)
		if (agent.kept[i].s.kind == SAMPLE_GAP) {
			gaps++;
			assert_string_equal(agent.kept[i].s.gap.kind, "check_skipped");
			assert_true(agent.kept[i].s.gap.lines > 0);
		}
	assert_int_equal(gaps, 1);                              /* one a minute */
	assert_true(source->skipped > 10);
}

/* ---- reload, bounds ------------------------------------------------------------------------- */

static void reload_keeps_the_schedule_of_what_is_the_same(void **state)
{
	static struct check_config other[4];
	static char same_url[256];
	struct check_config *same = add_check(server.http, "hang?same"), *gone = add_check(server.http, "hang?gone"),
			    *changed = add_check(server.http, "hang?changed");
	struct attempt *attempt;
	int64_t due;

	(void)state;
	same->timeout_us = gone->timeout_us = changed->timeout_us = 3600 * US_PER_S;
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
	other[0] = *changed;
	other[0].timeout_us = slow(50 * US_PER_MS);
	other[1] = *same;                                       /* elsewhere in memory, and in the list */
	other[1].url = same_url;
	other[2] = *same;
	other[2].url = "http://127.0.0.1/new";
	agent.config.checks = other;
	agent.config.n_checks = 3;
	src_check.reload(source);
	memset(urls, 'x', sizeof urls);                         /* the old configuration is gone */
	memset(configs, 0xff, sizeof configs);
	assert_int_equal(source->n, 3);
	assert_ptr_equal(source->check[1]->attempt, attempt);
	assert_int_equal(source->check[1]->due_us, due);
	assert_null(source->check[2]->attempt);
	assert_true(loop_until(&agent, 1, slow(2 * US_PER_S))); /* begun anew, with the new timeout */
	assert_int_equal(agent.kept[0].s.check.error, CHECK_TIMEOUT);
	assert_non_null(strstr(agent.kept[0].s.check.url.s, "hang"));

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

static void no_check_means_no_libcurl(void **state)
{
	struct buf b = BUF(1024);

	(void)state;
	begin_checks();
	assert_true(src_check.once(source));
	assert_null(source->glue);
	assert_true(src_check.status(source, &b));
	assert_string_equal(buf_cstr(&b), "{\"checks\":0,\"failing\":0,\"running\":0,\"waiting\":0,\"results\":0,"
					  "\"skipped\":0}");
	buf_free(&b);
}

/* ---- URLs ---------------------------------------------------------------------------------- */

static void assert_shown(const char *url, const char *want)
{
	char *shown = check_shown_url(url);

	assert_string_equal(shown, want);
	free(shown);
}

static void a_url_is_shown_without_its_user(void **state)
{
	(void)state;
	assert_shown("http://a:b@c/d", "http://c/d");
	assert_shown("http://a:b@x@c:80?q=@", "http://c:80?q=@");
	assert_shown("https://c/a@b", "https://c/a@b");
	assert_shown("https://a@[::1]:8443#f", "https://[::1]:8443#f");
	assert_shown("", "");
	assert_true(check_same_origin("http://u:p@Host:80/a", "HTTP://host:80/b?c"));
	assert_false(check_same_origin("http://host/", "https://host/"));
	assert_false(check_same_origin("http://host/", "http://host:81/"));
	assert_false(check_same_origin("http://host/", "http://host.evil/"));
	assert_false(check_same_origin("http://host/", "http://host@evil/"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(a_good_answer_has_all_its_figures),
		TEST(every_fault_has_its_class_within_its_deadline),
		TEST(nobody_listening_and_no_such_name_are_told_apart),
		TEST(certificates_are_judged_and_dated),
		TEST(a_certificate_that_is_not_judged_is_dated_too),
		TEST(a_tls_stall_ends_at_the_deadline),
		TEST(secrets_stay_with_us),
		TEST(the_request_is_plain),
		TEST(a_failure_counts_after_its_retries),
		TEST(runs_are_an_interval_apart_and_spread),
		TEST(a_retry_never_reaches_into_the_next_run),
		TEST(a_name_server_that_hangs_delays_nobody_else),
		TEST(five_hundred_that_hang_keep_cap_and_intervals),
		TEST(what_cannot_be_run_is_counted),
		TEST(reload_keeps_the_schedule_of_what_is_the_same),
		TEST(a_thousand_checks_leave_no_descriptor),
		TEST(no_check_means_no_libcurl),
		cmocka_unit_test(a_url_is_shown_without_its_user),
	};

	return cmocka_run_group_tests_name("checks", tests, start_server, stop_server);
}
