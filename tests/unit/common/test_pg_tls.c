/* How the database connection is protected where postgres_url does not say, and what is said of what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "common/pg/pg_tls.c"

static void assert_same(const char *a, const char *b)
{
	if (a && b)
		assert_string_equal(a, b);
	else
		assert_true(a == b);
}

static void only_a_socket_and_this_machine_are_local(void **state)
{
	static const struct { const char *host, *address; bool local; } rows[] = {
		{ "", "", true }, { "/run/postgresql", "", true }, { "@abstract", "", true }, { "localhost", "", true },
		{ "127.0.0.1", "", true }, { "127.9.9.9", "", true }, { "::1", "", true }, { "db", "127.0.0.2", true },
		{ "db.example.org", "", false }, { "10.0.0.1", "", false }, { "128.0.0.1", "", false }, { "::2", "", false },
		{ "localhost", "10.0.0.1", false }, { "localhost.example.org", "", false }, { "", "10.0.0.1", false },
		{ "127.0.0.1.example.org", "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (pg_tls_is_local(rows[i].host, rows[i].address) != rows[i].local)
			fail_msg("%s %s", rows[i].host, rows[i].address);
}

static void over_a_network_the_server_has_to_show_a_certificate(void **state)
{
	const char *root = PQlibVersion() >= 160000 ? "system" : "/etc/ssl/certs/ca-certificates.crt";
	const struct { const char *url, *mode, *root; } rows[] = {
		{ "postgres://a@db.example.org/d", "verify-full", root },
		{ "host=/run/postgresql,db.example.org", "verify-full", root },
		{ "service=elsewhere", "verify-full", root },
		{ "postgres://a@db.example.org/d?sslrootcert=/mine", "verify-full", NULL },
		{ "postgres://a@db.example.org/d?sslmode=verify-full", NULL, root },
		{ "postgres://a@db.example.org/d?sslmode=verify-ca", NULL, "/etc/ssl/certs/ca-certificates.crt" },
		{ "postgres://a@db.example.org/d?sslmode=require", NULL, NULL },
		{ "postgres://a@localhost/d", NULL, NULL },
		{ "postgres:///d", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pg_tls tls = pg_tls_for_url(rows[i].url);

		assert_same(tls.mode, rows[i].mode);
		assert_same(tls.root, rows[i].root);
	}
	setenv("PGSSLMODE", "require", 1);
	assert_null(pg_tls_for_url(rows[0].url).mode);
	unsetenv("PGSSLMODE");
}

static void an_authority_of_ones_own_in_the_home_folder_is_left_to_libpq(void **state)
{
	char home[] = "/tmp/observ-test-XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(home));
	snprintf(path, sizeof path, "%s/.postgresql", home);
	setenv("HOME", home, 1);
	assert_non_null(pg_tls_for_url("host=db.example.org").root);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/.postgresql/root.crt", home);
	fclose(fopen(path, "w"));
	assert_null(pg_tls_for_url("host=db.example.org").root);
	unlink(path);
	snprintf(path, sizeof path, "%s/.postgresql", home);
	rmdir(path);
	rmdir(home);
	setenv("HOME", "/nonexistent", 1);
}

static void a_weaker_setting_gets_a_warning_with_its_fix(void **state)
{
	static const char *const quiet[] = { "host=db.example.org", "host=db.example.org sslmode=verify-full", "sslmode=disable",
					     "host=localhost sslmode=disable", "nonsense" };
	char said[PG_TLS_SENTENCE_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
		assert_false(pg_tls_weakness(quiet[i], said));
	assert_true(pg_tls_weakness("postgres://a:secret@127.0.0.1,db.example.org/d?sslmode=require", said));
	assert_string_equal(said, "postgres_url says sslmode=require for db.example.org: password and rows are encrypted, but whoever is on the "
			    "way can pretend to be the database; take sslmode out (the default is verify-full), and name an "
			    "authority of your own by sslrootcert=FILE");
	assert_true(pg_tls_weakness("host=10.0.0.1 sslmode=disable", said));
	assert_true(pg_tls_weakness("service=x sslmode=prefer", said));
	assert_non_null(strstr(said, " for the service x: "));
}

static int no_environment(void **state)
{
	(void)state;
	unsetenv("PGSSLMODE");
	unsetenv("PGSSLROOTCERT");
	unsetenv("PGHOST");
	unsetenv("PGSERVICE");
	return setenv("HOME", "/nonexistent", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_socket_and_this_machine_are_local),
		cmocka_unit_test(over_a_network_the_server_has_to_show_a_certificate),
		cmocka_unit_test(an_authority_of_ones_own_in_the_home_folder_is_left_to_libpq),
		cmocka_unit_test(a_weaker_setting_gets_a_warning_with_its_fix),
	};

	return cmocka_run_group_tests(tests, no_environment, NULL);
}
