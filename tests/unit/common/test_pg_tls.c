/* How the database connection is protected where postgres_url does not say, and what is said of what it
 * says. */
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
		{ "", "", true }, { "/run/postgresql", "", true }, { "@abstract", "", true },
		{ "localhost", "", false }, { "localhost", "127.0.0.1", true }, { "localhost", "::1", true },
		{ "127.0.0.1", "", true }, { "127.9.9.9", "", true },
		{ "::1", "", true }, { "db", "127.0.0.2", true }, { "db.example.org", "", false },
		{ "10.0.0.1", "", false }, { "128.0.0.1", "", false }, { "::2", "", false },
		{ "localhost", "10.0.0.1", false }, { "localhost.example.org", "", false },
		{ "", "10.0.0.1", false },
		{ "127.0.0.1.example.org", "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (pg_tls_is_local(rows[i].host, rows[i].address) != rows[i].local)
			fail_msg("%s %s", rows[i].host, rows[i].address);
}

static void over_a_network_the_server_must_show_a_certificate(void **state)
{
	const char *root = PQlibVersion() >= 160000 ? "system" : "/etc/ssl/certs/ca-certificates.crt";
	const struct { const char *url, *mode, *root; } rows[] = {
		{ "postgres://a@db.example.org/d", "verify-full", root },
		{ "host=/run/postgresql,db.example.org", "verify-full", root },
		{ "service=elsewhere", "verify-full", root },
		{ "postgres://a@db.example.org/d?sslrootcert=/mine", "verify-full", NULL },
		{ "postgres://a@db.example.org/d?sslmode=verify-full", NULL, root },
		{ "postgres://a@db.example.org/d?sslmode=verify-ca", NULL,
		  "/etc/ssl/certs/ca-certificates.crt" },
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
	setenv("PGSSLMODE", "", 1);
	assert_same(pg_tls_for_url(rows[0].url).mode, "verify-full");
	unsetenv("PGSSLMODE");
}

/* What a service or the environment says counts as libpq counts it: the URL, then the service, then the
 * environment. */
static void where_the_server_is_may_be_said_elsewhere(void **state)
{
	static const struct { const char *url, *variable, *value, *mode; } rows[] = {
		{ "dbname=d", "PGHOST", "db.example.org", "verify-full" },
		{ "dbname=d", "PGHOST", "/run/postgresql", NULL },
		{ "dbname=d", "PGHOSTADDR", "10.0.0.1", "verify-full" },
		{ "host=localhost", "PGHOSTADDR", "10.0.0.1", "verify-full" },
		{ "host=localhost", "PGHOST", "db.example.org", NULL },
		{ "dbname=d", "PGSERVICE", "away", "verify-full" },
		{ "dbname=d", "PGSERVICE", "here", NULL },
		{ "service=away", "PGHOST", "localhost", "verify-full" },
		{ "service=here", "PGHOST", "db.example.org", NULL },
		{ "host=localhost service=address", "PGHOST", "localhost", "verify-full" },
		{ "service=away host=localhost", "PGHOST", "x", NULL },
		{ "service=chosen", "PGSSLMODE", "verify-full", NULL },
		{ "service=unknown", "PGHOST", "localhost", "verify-full" },
		{ "host=db.example.org", "PGREQUIRESSL", "1", NULL },
		{ "host=db.example.org requiressl=0", "PGHOST", "x", NULL },
	};
	char file[] = "/tmp/observ-test-XXXXXX";
	FILE *out = fdopen(mkstemp(file), "w");

	(void)state;
	fputs("[away]\nhost=db.example.org\n[here]\nhost=/run/postgresql\n[address]\nhostaddr=10.0.0.1\n"
	      "[chosen]\nhost=10.0.0.1\nsslmode=require\n", out);
	fclose(out);
	setenv("PGSERVICEFILE", file, 1);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		setenv(rows[i].variable, rows[i].value, 1);
		print_message("%s, %s=%s\n", rows[i].url, rows[i].variable, rows[i].value);
		assert_same(pg_tls_for_url(rows[i].url).mode, rows[i].mode);
		unsetenv(rows[i].variable);
	}
	unsetenv("PGSERVICEFILE");
	unlink(file);
}

static void a_private_ca_in_the_home_folder_is_left_to_libpq(void **state)
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
	static const char *const quiet[] = { "host=db.example.org", "host=db.example.org sslmode=verify-full",
					     "sslmode=disable", "host=localhost sslmode=disable",
					     "nonsense" };
	char said[PG_TLS_SENTENCE_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
		assert_false(pg_tls_weakness(quiet[i], said));
	assert_true(pg_tls_weakness("postgres://a:secret@127.0.0.1,db.example.org/d?sslmode=require", said));
	assert_string_equal(said,
			    "sslmode=require for db.example.org: password and rows are encrypted, but "
			    "any machine on the way can pretend to be the database; leave sslmode out (the "
			    "default is verify-full), and name your own authority with sslrootcert=FILE");
	assert_true(pg_tls_weakness("host=10.0.0.1 sslmode=disable", said));
	assert_true(pg_tls_weakness("host=localhost hostaddr=10.0.0.1 sslmode=prefer", said));
	assert_non_null(strstr(said, "sslmode=prefer for 10.0.0.1: "));
}

static int no_environment(void **state)
{
	(void)state;
	unsetenv("PGSSLMODE");
	unsetenv("PGSSLROOTCERT");
	unsetenv("PGHOST");
	unsetenv("PGHOSTADDR");
	unsetenv("PGSERVICE");
	return setenv("HOME", "/nonexistent", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_socket_and_this_machine_are_local),
		cmocka_unit_test(over_a_network_the_server_must_show_a_certificate),
		cmocka_unit_test(where_the_server_is_may_be_said_elsewhere),
		cmocka_unit_test(a_private_ca_in_the_home_folder_is_left_to_libpq),
		cmocka_unit_test(a_weaker_setting_gets_a_warning_with_its_fix),
	};

	return cmocka_run_group_tests(tests, no_environment, NULL);
}
