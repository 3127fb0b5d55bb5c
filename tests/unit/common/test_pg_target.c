/* The servers of a postgres_url, the order of attempts, and name lookups that do not block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

/* Replaces the C library's resolver. */
static atomic_int lookups, lookups_now, lookups_most;
static atomic_bool hangs;

#include <netdb.h>

int fake_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
		     struct addrinfo **ret);
#define getaddrinfo fake_getaddrinfo
#include "common/net/names.c"
#include "common/loop/resolve.c"
#undef getaddrinfo
#include "common/pg/pg_target.c"

int fake_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
		     struct addrinfo **ret)
{
	int now = ++lookups_now;

	lookups++;
	if (now > lookups_most)
		lookups_most = now;
	while (hangs)
		usleep(1000);
	lookups_now--;
	return getaddrinfo(strcmp(name, "two.test") == 0 ? "127.0.0.2" : "127.0.0.1", service, hints, ret);
}

/* ---- targets ---- */

static const struct pg_manner manner = { .application = "test", .writes = true };

#define ADDRESSES(i, list, ...)                                                \
	do {                                                                   \
		const char *const a_[] = { __VA_ARGS__ };                      \
                                                                               \
		for (size_t k_ = 0; k_ < sizeof a_ / sizeof *a_; k_++)         \
			strcpy_address((list).name[i].address[k_], a_[k_]);    \
		(list).name[i].n = sizeof a_ / sizeof *a_;                     \
	} while (0)

static void strcpy_address(char *to, const char *from)
{
	memcpy(to, from, strlen(from) + 1);
}

static struct pg_targets *targets(const char *url)
{
	struct pg_targets *t = NULL;
	struct err e = { 0 };

	if (pg_targets_new(url, &manner, &t, &e) < 0)
		fail_msg("%s", e.msg);
	return t;
}

/* The round as text: "host address port; ...". */
static const char *round_of(struct pg_targets *t)
{
	static char out[1000];
	size_t n = pg_targets_begin(t), used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n; i++)
		used += (size_t)snprintf(out + used, sizeof out - used, "%s%s %s %s", i ? "; " : "",
					 t->target[i].host, t->target[i].address, t->target[i].port);
	return out;
}

static void hosts_that_need_no_lookup(void **state)
{
	static const char *const cases[][2] = {
		{ "postgresql://u@127.0.0.1:5433/d", "127.0.0.1  5433" },
		{ "postgresql://u@[::1]/d", "::1  " },
		{ "host=/run/postgresql dbname=d", "/run/postgresql  " },
		{ "dbname=d", "  " },
		{ "host=db.test hostaddr=10.0.0.1 port=1", "db.test 10.0.0.1 1" },
		{ "host=a,b hostaddr=10.0.0.1,10.0.0.2 port=7", "a 10.0.0.1 7; b 10.0.0.2 7" },
		{ "hostaddr=10.0.0.1,10.0.0.2 port=7,8", " 10.0.0.1 7;  10.0.0.2 8" },
		{ "postgresql://u@%2Frun%2Fpg,127.0.0.1:7/d", "/run/pg  ; 127.0.0.1  7" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pg_targets *t = targets(cases[i][0]);

		assert_int_equal(pg_targets_names(t)->n, 0);
		assert_string_equal(round_of(t), cases[i][1]);
		pg_targets_free(t);
	}
}

static void each_address_of_each_name_is_a_target(void **state)
{
	struct pg_targets *t = targets("postgresql://u@one.test:1,10.0.0.9:2,two.test:3/d");
	struct resolve_names answer = *pg_targets_names(t);

	(void)state;
	assert_int_equal(answer.n, 2);
	assert_string_equal(answer.name[0].name, "one.test");
	assert_string_equal(round_of(t), "10.0.0.9  2");        /* no name looked up yet */
	ADDRESSES(0, answer, "10.0.0.1", "fe80::1");
	ADDRESSES(1, answer, "10.0.0.2");
	pg_targets_found(t, &answer);
	assert_string_equal(round_of(t),
			    "one.test 10.0.0.1 1; one.test fe80::1 1; 10.0.0.9  2; two.test 10.0.0.2 3");
	pg_targets_free(t);
}

/* Its other addresses are left out, until the next round. */
static void a_server_that_refuses_the_login_is_asked_once_in_a_round(void **state)
{
	struct pg_targets *t = targets("host=one.test,10.0.0.9 target_session_attrs=prefer-standby");
	struct resolve_names answer = *pg_targets_names(t);
	int asked = 0;
	PGconn *conn;

	(void)state;
	ADDRESSES(0, answer, "127.0.0.1", "127.0.0.2");
	pg_targets_found(t, &answer);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(pg_targets_begin(t), 6);       /* three for a standby, three for any */
		for (asked = 0; pg_targets_next(t, &conn); asked++) {
			if (strcmp(PQhost(conn), "one.test") == 0)
				pg_targets_refused(t);
			PQfinish(conn);
		}
		assert_int_equal(asked, 3);
	}
	pg_targets_free(t);
}

static void a_name_that_is_lost_keeps_its_addresses(void **state)
{
	struct pg_targets *t = targets("host=one.test port=1");
	struct resolve_names answer = *pg_targets_names(t);

	(void)state;
	ADDRESSES(0, answer, "10.0.0.1");
	pg_targets_found(t, &answer);
	answer.name[0].n = 0;
	answer.name[0].error = "gone";
	pg_targets_found(t, &answer);
	assert_string_equal(round_of(t), "one.test 10.0.0.1 1");
	pg_targets_free(t);
}

static void the_last_good_server_is_tried_first(void **state)
{
	struct pg_targets *t = targets("hostaddr=127.0.0.1,127.0.0.2,127.0.0.3 port=1");
	PGconn *conn;

	(void)state;
	pg_targets_begin(t);
	for (int i = 0; i < 2; i++) {
		assert_true(pg_targets_next(t, &conn));
		PQfinish(conn);
	}
	pg_targets_good(t);
	assert_string_equal(round_of(t), " 127.0.0.2 1;  127.0.0.1 1;  127.0.0.3 1");
	for (int i = 0; i < 3; i++) {
		assert_true(pg_targets_next(t, &conn));
		PQfinish(conn);
	}
	assert_false(pg_targets_next(t, &conn));
	pg_targets_free(t);
}

/* The primary served while the standby was away. */
static void a_primary_is_left_when_the_preferred_standby_is_back(void **state)
{
	struct pg_targets *t = targets("hostaddr=127.0.0.1,127.0.0.2 port=1 "
				       "target_session_attrs=prefer-standby");
	static const char *const order[] = { "127.0.0.2 standby", "127.0.0.1 standby", "127.0.0.2 any",
					     "127.0.0.1 any" };
	PGconn *conn;

	(void)state;
	for (size_t round = 0; round < 2; round++) {
		pg_targets_begin(t);
		for (size_t i = 0; i < 4; i++) {
			char is[40];

			snprintf(is, sizeof is, "%s %s", t->target[i].address, t->target[i].session);
			if (round)
				assert_string_equal(is, order[i]);
			assert_true(pg_targets_next(t, &conn));
			PQfinish(conn);
		}
		pg_targets_good(t);             /* the last of the round: any session on 127.0.0.2 */
	}
	pg_targets_free(t);
}

static const char *value_of(PGconn *conn, const char *keyword)
{
	static char value[64];
	PQconninfoOption *all = PQconninfo(conn);

	value[0] = '\0';
	for (PQconninfoOption *o = all; o->keyword; o++)
		if (strcmp(o->keyword, keyword) == 0 && o->val)
			snprintf(value, sizeof value, "%s", o->val);
	PQconninfoFree(all);
	return value;
}

static void the_url_overrides_the_defaults(void **state)
{
	static const struct {
		const char *url, *keyword, *value;
	} cases[] = {
		{ "host=/x", "target_session_attrs", "read-write" },
		{ "host=/x target_session_attrs=any", "target_session_attrs", "any" },
		{ "host=/x", "tcp_user_timeout", "15000" },
		{ "host=/x tcp_user_timeout=1", "tcp_user_timeout", "1" },
		{ "host=/x", "keepalives_idle", "90" }, /* longer than between two batches */
		{ "postgresql://me@10.0.0.1:1,10.0.0.2:2/d", "host", "10.0.0.1" },
		{ "postgresql://me@10.0.0.1:1,10.0.0.2:2/d", "port", "1" },
		{ "postgresql://me@10.0.0.1:1,10.0.0.2:2/d", "user", "me" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pg_targets *t = targets(cases[i].url);
		PGconn *conn;

		pg_targets_begin(t);
		assert_true(pg_targets_next(t, &conn));
		assert_string_equal(value_of(conn, cases[i].keyword), cases[i].value);
		PQfinish(conn);
		pg_targets_free(t);
	}
}

/* An empty host is the socket of this machine, so it gets no TLS: libpq must not look for another one. */
static void an_empty_host_is_never_taken_from_the_environment(void **state)
{
	static const struct {
		const char *url, *host, *address;
	} cases[] = {
		{ "host=,127.0.0.1", "10.9.9.9", NULL },
		{ "postgresql://127.0.0.1,/d", "10.9.9.9", NULL },
		{ "dbname=d", "10.9.9.9,", NULL },
		{ "dbname=d", NULL, "10.9.9.9," },
		{ "dbname=d", "a.test,", "10.9.9.9," },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pg_targets *t;
		PGconn *conn;
		bool local = false;

		if (cases[i].host)
			setenv("PGHOST", cases[i].host, 1);
		if (cases[i].address)
			setenv("PGHOSTADDR", cases[i].address, 1);
		t = targets(cases[i].url);
		pg_targets_begin(t);
		while (pg_targets_next(t, &conn)) {
			const char *mode = value_of(conn, "sslmode");

			if (strcmp(mode, "verify-full") != 0) {
				assert_null(strstr(value_of(conn, "host"), "10.9.9.9"));
				assert_null(strstr(value_of(conn, "hostaddr"), "10.9.9.9"));
				local |= PQhost(conn)[0] == '/';
			}
			PQfinish(conn);
		}
		assert_true(local);
		pg_targets_free(t);
		unsetenv("PGHOST");
		unsetenv("PGHOSTADDR");
	}
}

/* A server that is named is tried, however many there are; more than can be tried are refused. */
static void no_server_is_left_out(void **state)
{
	char url[400] = "host=n0";
	struct pg_targets *t;
	struct resolve_names answer;
	struct err e = { 0 };

	(void)state;
	for (int i = 1; i < RESOLVE_NAMES_MAX; i++)
		snprintf(url + strlen(url), sizeof url - strlen(url), ",n%d", i);
	t = targets(url);
	answer = *pg_targets_names(t);
	assert_int_equal(answer.n, RESOLVE_NAMES_MAX);
	for (size_t i = 0; i < answer.n; i++)
		for (size_t a = 0; a < RESOLVE_ADDRESSES_MAX; a++, answer.name[i].n++)
			snprintf(answer.name[i].address[a], RESOLVE_ADDRESS_SIZE, "10.0.%zu.%zu", i, a);
	pg_targets_found(t, &answer);
	assert_int_equal(pg_targets_begin(t), RESOLVE_NAMES_MAX * RESOLVE_ADDRESSES_MAX);
	pg_targets_free(t);
	snprintf(url + strlen(url), sizeof url - strlen(url), ",n%d", RESOLVE_NAMES_MAX);
	assert_int_equal(pg_targets_new(url, &manner, &t, &e), -EINVAL);
	assert_string_equal(e.msg, "it names more than 16 hosts; name fewer");
}

static void a_list_that_does_not_fit_is_refused(void **state)
{
	static const char *const urls[] = { "host=a,b hostaddr=10.0.0.1", "host=a,b,c port=1,2",
					    "nonsense=1" };
	struct pg_targets *t;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		assert_int_equal(pg_targets_new(urls[i], &manner, &t, &e), -EINVAL);
		assert_true(*e.msg);
	}
}

/* ---- lookups ---- */

struct seen {
	int answers;
	struct resolve_names last;
};

static void note_answer(void *data, const struct resolve_names *answer)
{
	struct seen *s = data;

	s->answers++;
	s->last = *answer;
}

static void at_most_one_lookup_runs_and_nothing_waits_for_it(void **state)
{
	struct resolve_names names = { .n = 2, .name = { { .name = "one.test" }, { .name = "two.test" } } };
	struct seen seen = { 0 };
	struct resolver *r;
	sd_event *loop;
	struct err e;

	(void)state;
	assert_true(sd_event_new(&loop) >= 0);
	assert_int_equal(resolver_new(loop, note_answer, &seen, &r, &e), 0);
	hangs = true;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(resolver_ask(r, &names, &e), 0);
		assert_int_equal(sd_event_run(loop, 1000), 0);          /* the loop still runs */
	}
	assert_int_equal(seen.answers, 0);
	hangs = false;
	while (seen.answers == 0)
		assert_true(sd_event_run(loop, 5 * 1000 * 1000) > 0);
	assert_int_equal(lookups_most, 1);
	assert_int_equal(lookups, 2);                   /* one for each name */
	assert_string_equal(seen.last.name[1].address[0], "127.0.0.2");
	assert_null(seen.last.name[0].error);

	hangs = true;
	assert_int_equal(resolver_ask(r, &names, &e), 0);
	while (lookups == 2)
		usleep(1000);
	resolver_free(r);                               /* while it hangs */
	hangs = false;
	while (lookups_now || lookups < 4)
		usleep(1000);
	assert_int_equal(seen.answers, 1);
	sd_event_unref(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_that_need_no_lookup),
		cmocka_unit_test(each_address_of_each_name_is_a_target),
		cmocka_unit_test(a_server_that_refuses_the_login_is_asked_once_in_a_round),
		cmocka_unit_test(a_name_that_is_lost_keeps_its_addresses),
		cmocka_unit_test(the_last_good_server_is_tried_first),
		cmocka_unit_test(a_primary_is_left_when_the_preferred_standby_is_back),
		cmocka_unit_test(the_url_overrides_the_defaults),
		cmocka_unit_test(an_empty_host_is_never_taken_from_the_environment),
		cmocka_unit_test(no_server_is_left_out),
		cmocka_unit_test(a_list_that_does_not_fit_is_refused),
		cmocka_unit_test(at_most_one_lookup_runs_and_nothing_waits_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
