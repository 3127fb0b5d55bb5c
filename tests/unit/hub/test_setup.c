/* fleet_hub_admin setup takes URLs, options, psql's words and site files apart, and puts them together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fleet_hub/setup/setup.c"
#include "fleet_hub/setup/setup_database.c"
#include "fleet_hub/setup/setup_hub.c"
#include "fleet_hub/setup/setup_public.c"

/* ---- URLs ---------------------------------------------------------------------------------- */

static void becomes(const char *url, const char *login, const char *database, const char *expected)
{
	char out[SETUP_URL_MAX];

	assert_true(setup_url(url, login, database, out));
	assert_string_equal(out, expected);
}

static void a_url_gets_another_login_and_database(void **state)
{
	(void)state;
	becomes("postgresql://boss:pw@db.example.org:5433/far?sslrootcert=/ca.crt", "obs_web_1", "far",
		"postgresql://obs_web_1@db.example.org:5433/far?sslrootcert=/ca.crt");
	becomes("postgresql://boss@a,b:1/far", NULL, "postgres", "postgresql://boss@a,b:1/postgres");
	becomes("postgres://host", "fleet-hub:secret", "far", "postgres://fleet-hub:secret@host/far");
	becomes("postgresql:///?host=/var/run/postgresql", "fleet-hub", "observ_metrics",
		"postgresql://fleet-hub@/observ_metrics?host=/var/run/postgresql");
	becomes("postgresql://[::1]:5432/x", "u", "y", "postgresql://u@[::1]:5432/y");
	becomes("postgresql://localhost/?application_name=a@b", "u", "y",
		"postgresql://u@localhost/y?application_name=a@b");
	becomes("postgresql://u:a?b@h/x", NULL, "y", "postgresql://u:a?b@h/y");
}

static void a_url_that_does_not_fit_is_refused(void **state)
{
	char url[SETUP_URL_MAX + 16] = "postgresql://", out[SETUP_URL_MAX];

	(void)state;
	memset(url + 13, 'h', SETUP_URL_MAX - 14);
	assert_false(setup_url(url, "login", "database", out));
}

static void setup_wants_a_url_without_hidden_logins(void **state)
{
	static const char *const bad[] = { "",
					   "host=x dbname=y",
					   "http://x/y",
					   "postgresql://x/y?user=me",
					   "postgresql://x/y?a=b&user=me",
					   "postgresql://x/y?password=p",
					   "postgresql://x/a'b",
					   "postgresql://x/-y" };
	char database[NAME_MAX_BYTES + 1];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct setup s = { .database = DATABASE };
		struct err e = { 0 };

		assert_true(take_url(&s, bad[i], database, &e) < 0);
		assert_true(strlen(e.msg) > 10);
	}
	struct setup s = { .database = DATABASE };

	assert_int_equal(take_url(&s, "postgresql://boss@host", database, NULL), 0);
	assert_string_equal(s.database, DATABASE);
	assert_int_equal(take_url(&s, "postgresql://boss@host/far?sslmode=require", database, NULL), 0);
	assert_string_equal(s.database, "far");
}

/* psql has the URL in its command line. */
static void a_password_leaves_the_url(void **state)
{
	static const struct { const char *url, *bare, *password; } cases[] = {
		{ "postgresql://boss:p%40ss@h:5433/far?sslmode=require",
		  "postgresql://boss@h:5433/far?sslmode=require", "p@ss" },
		{ "postgresql://boss:pw@[::1]:5433,b:1/far", "postgresql://boss@[::1]:5433,b:1/far", "pw" },
		{ "postgresql://boss@h:5433/far", "postgresql://boss@h:5433/far", NULL },
		{ "postgresql://h:5433/far?application_name=a:b@c",
		  "postgresql://h:5433/far?application_name=a:b@c", NULL },
		{ "postgresql://:pw@h/far", "postgresql://@h/far", "pw" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char bare[SETUP_URL_MAX];

		unsetenv("PGPASSWORD");
		assert_int_equal(take_password(cases[i].url, bare, NULL), 0);
		assert_string_equal(bare, cases[i].bare);
		if (cases[i].password)
			assert_string_equal(getenv("PGPASSWORD"), cases[i].password);
		else
			assert_null(getenv("PGPASSWORD"));
	}
	unsetenv("PGPASSWORD");
}

/* Others may have put a psql into the folder in which root is. */
static void programs_are_not_looked_for_in_the_current_folder(void **state)
{
	static const char *const cases[][2] = {
		{ NULL, "" }, { "", "" }, { ":/opt/x", "/opt/x:" }, { "/opt/x:", "/opt/x:" },
		{ "/a::/b", "/a:/b:" }, { ".:/a:bin:../b", "/a:" },
		{ "/usr/local/bin:/usr/bin", "/usr/local/bin:/usr/bin:" },
	};
	char path[PATH_SIZE], expected[PATH_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		find_programs(cases[i][0], path);
		snprintf(expected, sizeof expected, "%s/usr/sbin:/usr/bin:/sbin:/bin", cases[i][1]);
		assert_string_equal(path, expected);
	}
}

static void a_port_of_the_environment_is_a_port(void **state)
{
	struct setup s = { .database = DATABASE };
	struct err e;

	(void)state;
	setenv("PGPORT", "5432&host=db.evil.test", 1);
	assert_int_equal(check_environment(&s, &e), -EINVAL);
	setenv("PGPORT", "5433", 1);
	assert_int_equal(check_environment(&s, &e), 0);
	unsetenv("PGPORT");
}

/* ---- options --------------------------------------------------------------------------------- */

static int options(struct setup *s, struct err *e, const char *line)
{
	static char text[256];
	char *words[16], *rest = text;
	int n = 0;

	snprintf(text, sizeof text, "%s", line);
	while (n < 16 && (words[n] = strsep(&rest, " ")))
		n++;
	return take_options(s, n, words, e);
}

static void options_of_setup(void **state)
{
	static const char *const bad[] = { "--app",
					   "--app a;b",
					   "--app ../a",
					   "--server ",
					   "--port 0",
					   "--port 65536",
					   "--port 80x",
					   "--database a;b",
					   "--database -x",
					   "--what x",
					   "x",
					   "--database-only --app a" };
	struct setup s = { 0 };

	(void)state;
	assert_int_equal(options(&s, NULL, "--app shop --app till --server web-1 --port 8090 --database far"),
			 0);
	assert_int_equal(s.n_apps, 2);
	assert_string_equal(s.apps[1], "till");
	assert_string_equal(s.port, "8090");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_true(options(&(struct setup){ 0 }, NULL, bad[i]) < 0);
}

/* ---- what others say, what they read ------------------------------------------------------------- */

static void says(const char *said, const char *expected)
{
	char out[200];

	sentence(said, out, sizeof out);
	assert_string_equal(out, expected);
}

static void psql_is_quoted_in_one_line(void **state)
{
	(void)state;
	says("psql:<stdin>:9: ERROR:  too old\nCONTEXT:  line 3\n", "too old");
	says("ERROR:  no\nHINT:  do this\nmore", "no; do this");
	says("psql: error: connection to server on socket \"x\" failed: FATAL:  role \"root\" does not "
	     "exist\n",
	     "role \"root\" does not exist");
	says("psql: error: connection failed: No such file\n\tIs it running?\n",
	     "connection failed: No such file");
	says("", "");
	says("ERROR:  ", "");
}

static void a_site_gets_its_port_everywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof webs / sizeof *webs; i++) {
		CLEANUP(buf_free) struct buf text = BUF(SETUP_OUTPUT_MAX);

		assert_true(fill(&webs[i], &(struct setup){ .port = "9191" }, &text));
		assert_null(strstr(buf_cstr(&text), TEMPLATE_PORT));
		assert_non_null(strstr(buf_cstr(&text), "127.0.0.1:9191"));
		assert_non_null(strstr(buf_cstr(&text), "http://localhost:9191/"));
		assert_non_null(strstr(buf_cstr(&text), "/run/observ/hub.sock"));
	}
}

static void a_site_has_tls_with_a_public_name_only(void **state)
{
	CLEANUP(buf_free) struct buf local = BUF(SETUP_OUTPUT_MAX), public = BUF(SETUP_OUTPUT_MAX);

	(void)state;
	assert_true(fill(&webs[0], &(struct setup){ .port = "8080" }, &local));
	assert_null(strstr(buf_cstr(&local), "\n\tlisten 443"));
	assert_true(fill(&webs[0], &(struct setup){ .port = "8080", .public = "hub.test" }, &public));
	assert_non_null(strstr(buf_cstr(&public), "\n\tlisten 443 ssl;\n"));
	assert_non_null(strstr(buf_cstr(&public), "\n\tserver_name hub.test;\n"));
	assert_null(strstr(buf_cstr(&public), "\n#tls"));
}

static void a_public_name_is_a_host_and_no_more(void **state)
{
	static const char *const bad[] = { "", "https://hub.test", "hub.test:443", "hub test", "192.0.2.1",
					   "-x", ".x", "a;b", "a\nb", "hub{}" };

	(void)state;
	assert_true(host_name("hub.example.com") && host_name("hub") && host_name("1und1.de"));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(host_name(bad[i]));
}

static void a_key_of_a_configuration_is_found_where_it_counts(void **state)
{
	const char *conf = "# public_url = x\n public_url_2 = y\n\tpublic_url\t= z\n";

	(void)state;
	assert_string_equal(find_key(conf, "public_url"), "public_url\t= z\n");
	assert_null(find_key(conf, "url"));
	assert_null(find_key("", "packages"));
}

static void the_unit_of_a_cluster_is_that_of_its_access_rules(void **state)
{
	char unit[NAME_SIZE];

	(void)state;
	unit_of("/etc/postgresql/15/main/pg_hba.conf", unit);
	assert_string_equal(unit, "postgresql@15-main");
	unit_of("/srv/pg/pg_hba.conf", unit);
	assert_string_equal(unit, "postgresql");
}

static int with_server(const char *name, struct err *e)
{
	struct setup s = { 0 };

	return take_option(&s, "--server", name, e);
}

/* It becomes a variable of psql, which was cut at 504 bytes. */
static void a_servers_name_is_refused_rather_than_cut(void **state)
{
	char name[SERVER_NAME_MAX + 8] = "";
	struct err e;

	(void)state;
	for (size_t i = 0; i < SERVER_NAME_MAX / 4; i++)
		memcpy(name + 4 * i, "\xf0\x9f\x90\x98", 4);
	assert_int_equal(with_server(name, &e), 0);
	memcpy(name + SERVER_NAME_MAX, "x", 2);
	assert_int_equal(with_server(name, &e), -EINVAL);
	assert_non_null(strstr(e.msg, ": a server's name has 1 to 128 bytes"));
	assert_int_equal(with_server("web 1", &e), 0);
	assert_int_equal(with_server("", &e), -EINVAL);
	assert_int_equal(with_server("a\nb", &e), -EINVAL);
	assert_int_equal(with_server("a\xff", &e), -EINVAL);
	assert_int_equal(with_server(" a", &e), -EINVAL);
	assert_int_equal(with_server("a\xc2\x85" "b", &e), -EINVAL);
	assert_int_equal(with_server("${HOSTNAME}", &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_servers_name_is_refused_rather_than_cut),
		cmocka_unit_test(a_url_gets_another_login_and_database),
		cmocka_unit_test(a_url_that_does_not_fit_is_refused),
		cmocka_unit_test(setup_wants_a_url_without_hidden_logins),
		cmocka_unit_test(a_password_leaves_the_url),
		cmocka_unit_test(programs_are_not_looked_for_in_the_current_folder),
		cmocka_unit_test(a_port_of_the_environment_is_a_port),
		cmocka_unit_test(options_of_setup),
		cmocka_unit_test(psql_is_quoted_in_one_line),
		cmocka_unit_test(a_site_gets_its_port_everywhere),
		cmocka_unit_test(a_site_has_tls_with_a_public_name_only),
		cmocka_unit_test(a_public_name_is_a_host_and_no_more),
		cmocka_unit_test(a_key_of_a_configuration_is_found_where_it_counts),
		cmocka_unit_test(the_unit_of_a_cluster_is_that_of_its_access_rules),
	};

	return cmocka_run_group_tests_name("setup", tests, NULL, NULL);
}
