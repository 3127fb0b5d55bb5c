/*
 * check_fixture.h - a source of health checks with the server that does everything
 * wrong (tests/system/bad_http.py) before it and a fake agent behind it.
 */
#ifndef TESTS_CHECK_FIXTURE_H
#define TESTS_CHECK_FIXTURE_H

#include "obs_agent/check/src_check.c"
#include "fake_agent.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <pthread.h>
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

	if (strlen(name) >= 12 && strcmp(name + strlen(name) - 12, "missing.test") == 0)
		return EAI_NONAME;
	if (strcmp(name, "xn--bcher-kva.test") == 0)            /* bücher.test */
		name = "127.0.0.1";
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

/* ---- how late the machine itself is -------------------------------------------------------- */

/* A thread that only sleeps sees how long the machine keeps others waiting; the code
 * under test can't make it late. All that it saw is added to what is allowed. */
enum { STALL_MIN_US = 5000 };
static int64_t stall_us;
static bool watching;
static pthread_t watcher;

static void *watch(void *unused)
{
	while (__atomic_load_n(&watching, __ATOMIC_SEQ_CST)) {
		int64_t before = mono_us(), late;

		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
		late = mono_us() - before - 5 * US_PER_MS;
		if (late > STALL_MIN_US)
			__atomic_add_fetch(&stall_us, late, __ATOMIC_SEQ_CST);
	}
	return unused;
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
	return fscanf(server.out, "http=%d self_signed=%d expired=%d tls_stall=%d dead=%d certs=%127s",
		      &server.http, &server.self_signed, &server.expired, &server.tls_stall, &server.dead,
		      server.certs) == 6
		       ? 0
		       : -1;
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

/* For what has to happen and is promised within no time. */
#define PATIENCE_US (120 * US_PER_S)

/* Valgrind runs everything on one core and 20 times slower: times get longer, not other. */
static int64_t slow(int64_t us)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload && strstr(preload, "vgpreload") ? 3 * us : us;
}

static int begin(void **state)
{
	(void)state;
	agent_begin(&agent);
	agent.config.vps_name = "web-1";
	agent.config.checks = configs;
	memset(configs, 0, sizeof configs);
	stall_us = 0;
	watching = true;
	return pthread_create(&watcher, NULL, watch, NULL);
}

static int64_t stalls_us(void)
{
	return __atomic_load_n(&stall_us, __ATOMIC_SEQ_CST);
}

/* 100 ms, as promised, on a machine that is never late. */
static int64_t allowed_us(void)
{
	return slow(100 * US_PER_MS) + stalls_us();
}

static int end(void **state)
{
	(void)state;
	if (source)
		src_check.stop(source);
	source = NULL;
	let_resolvers_go();
	agent_end(&agent);
	__atomic_store_n(&watching, false, __ATOMIC_SEQ_CST);
	pthread_join(watcher, NULL);
	return 0;
}

/* Add a check, which may be changed until begin_checks(). Its timeout is long: tests of deadlines set one. */
static struct check_config *add_check(int port, const char *path)
{
	size_t i = agent.config.n_checks++;

	snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%d/%s", port, path);
	configs[i] = (struct check_config){
		.url = urls[i],
		.shown_url = urls[i],
		.method = "GET",
		.expect_status = { { 200, 299 } },
		.n_expect_status = 1,
		.interval_us = 3600 * US_PER_S,
		.timeout_us = PATIENCE_US / 2,
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
	assert_true(loop_until(&agent, agent.config.n_checks, PATIENCE_US));
	assert_true(src_check.once(source));
}

/* Its latest result, NULL: none yet. */
static const struct check_sample *find_result(const struct check_config *c)
{
	const struct check_sample *found = NULL;

	for (size_t i = 0; i < agent.n; i++)
		if (agent.kept[i].s.kind == SAMPLE_CHECK &&
		    text_eq(agent.kept[i].s.check.url, text_of(c->shown_url)))
			found = &agent.kept[i].s.check;
	return found;
}

static const struct check_sample *result_of(const struct check_config *c)
{
	const struct check_sample *s = find_result(c);

	assert_non_null(s);
	return s;
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

#endif
