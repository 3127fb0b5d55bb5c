/*
 * The configuration: what is read, and what is refused with which sentence.
 * (What is printed: test_config_print.c. What is hidden: test_config_url.c.)
 *
 *	test_config                     run the tests
 *	test_config --print-keys        the key table as docs/configuration.md has it
 *	test_config --check FILE        what the agent says about FILE
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "obs_agent/config/config.c"
#include "config_text.h"

#define ERRORS_DIR "tests/unit/config_errors/"
#define S INT64_C(1000000)

/* What the broken files and the tests below may use. */
static int set_environment(void **state)
{
	static char longer[1001];

	(void)state;
	setenv("CREDENTIALS_DIRECTORY", "tests/unit/credentials", 1);
	memset(longer, 'x', sizeof longer - 1);
	setenv("SECRET", "hunter2", 1);
	setenv("NOT_UTF8", "\xff", 1);
	setenv("EMPTY", "", 1);
	setenv("YAML", "info\npostgres_url: x", 1);
	setenv("TWO_LINES", "a\r\nX-B: c", 1);
	setenv("LONG", longer, 1);
	setenv("SYNTAX", "a: [b, {c: *d}] # \"e\" 'f'\n- !g &h\n\t${SECRET} $${x}", 1);
	unsetenv("NO_SUCH_VARIABLE");
	unsetenv("HOST");
	return 0;
}

/* ---- what is refused ------------------------------------------------------------ */

static size_t count_broken_files(void)
{
	CLEANUP(closedir_p) DIR *dir = opendir(ERRORS_DIR);
	size_t n = 0;

	for (struct dirent *entry; (entry = readdir(dir));)
		n += strstr(entry->d_name, ".yml") != NULL;
	return n;
}

static void each_broken_file_gets_its_sentence(void **state)
{
	CLEANUP(free_p) char *expected = read_file(ERRORS_DIR "EXPECTED");
	char *rest = expected, *line;
	size_t n = 0;

	(void)state;
	while ((line = strsep(&rest, "\n"))) {
		char path[256];
		struct config c;
		struct config_mistakes m;

		if (!*line || *line == '#')
			continue;
		n++;
		snprintf(path, sizeof path, ERRORS_DIR "%.*s", (int)strcspn(line, ":"), line);
		if (config_load(path, "my-app", &c, &m) == 0)
			fail_msg("%s: accepted", path);
		assert_string_equal(m.e[0].msg + strlen(ERRORS_DIR), line);
		assert_int_equal(m.n, 1);       /* and no other that follows from it */
		assert_null(strstr(m.e[0].msg, "hunter2"));
	}
	assert_true(n >= 45);
	assert_int_equal(n, count_broken_files());      /* none without a sentence */
}

static void add_sentence(void *data, const char *sentence)
{
	char *all = data;
	size_t used = strlen(all);

	snprintf(all + used, 4096 - used, "%s\n", sentence);
}

/* All sentences about a text that is refused, a line each. */
static const char *mistakes_of(const char *yaml)
{
	static char all[4096];
	struct config c;
	struct config_mistakes m;

	*all = '\0';
	assert_int_equal(config_parse("a.yml", "my-app", text_of(yaml), &c, &m), -EINVAL);
	config_mistakes_tell(&m, add_sentence, all);
	return all;
}

static void every_mistake_is_named_in_the_order_of_the_file(void **state)
{
	(void)state;
	assert_string_equal(mistakes_of("monitoring:\n"
					"  log_files: [/good.log, bad.log, /dir/, /good.log]\n"
					"  colour: red\n"
					"  enabled: perhaps\n"
					"  collection_interval: 5\n"
					"  enabled: true\n"
					"  health_checks:\n"
					"    - {url: ftp://a/, retries: many}\n"
					"    - http://b/\n"
					"    - http://b/\n"
					"    - {url: 'http://c/', headers: {'a b': c, D: \"x\\ny\"}}\n"),
		"a.yml:2:26: path \"bad.log\" is not an absolute path; begin it with /\n"
		"a.yml:2:35: path \"/dir/\" is a folder; name its files, as in /var/log/my-app/*.log\n"
		"a.yml:2:42: log_files: \"/good.log\" is listed twice; remove one\n"
		"a.yml:3:3: \"colour\" is not a key of section monitoring; known are enabled, postgres_url, "
		"vps_name, collection_interval, app_unit, log_level, health_checks, log_timezone, log_files, "
		"log_lines_per_second, notify\n"
		"a.yml:4:12: enabled \"perhaps\" is neither true nor false; write one of them\n"
		"a.yml:5:24: collection_interval \"5\" is out of range; write 10 to 86400 seconds\n"
		"a.yml:6:3: enabled is given twice, first in line 4; remove one\n"
		"a.yml:8:13: url \"ftp://a/\" does not begin with http:// or https://; write "
		"http://HOST/PATH or https://HOST/PATH\n"
		"a.yml:8:32: retries \"many\" is not a whole number; write 0 to 10\n"
		"a.yml:10:7: health_checks: this URL is checked twice; remove one, or tell them apart by a "
		"#name at the end\n"
		"and 2 more mistakes\n");
}

/* A value that is wrong makes no second mistake of what is compared with it. */
static void no_mistake_causes_a_second_message(void **state)
{
	(void)state;
	assert_string_equal(mistakes_of("monitoring:\n  enabled: true\n  postgres_ul: postgres://a@b/c\n"
					"  collection_interval: 5\n  health_checks:\n"
					"    - {url: 'http://a/', timeout: 100}\n"
					"    - {urll: 'http://b/'}\n"
					"    - {url: 'http://c/', interval: 1x, timeout: 100}\n"
					"    - {url: 'http://d/', method: FETCH, expect_body: x}\n"),
		"a.yml:3:3: \"postgres_ul\" is not a key of section monitoring; did you mean postgres_url?\n"
		"a.yml:4:24: collection_interval \"5\" is out of range; write 10 to 86400 seconds\n"
		"a.yml:7:8: \"urll\" is not a key of a health check; did you mean url?\n"
		"a.yml:8:36: interval \"1x\" is not a time; write whole seconds (60) or units (90s, 5m, "
		"1h30m)\n"
		"a.yml:9:34: method \"FETCH\" is not known; write one of GET, HEAD, POST, PUT, PATCH, "
		"DELETE, OPTIONS\n");
}

/* Half-written files: each beginning of a good file is read or refused with a place. */
static void a_file_cut_anywhere_is_read_or_refused_with_a_place(void **state)
{
	static const char yaml[] = "monitoring:\n  enabled: true\n  postgres_url: 'postgres://a:b@c/d'\n"
				   "  health_checks:\n    - {url: \"http://a/\", headers: {A: b}}\n"
				   "  log_files: [/a, \"/b\"]\n";

	(void)state;
	for (size_t len = 0; len < sizeof yaml; len++) {
		struct config c;
		struct config_mistakes m;
		int line, column;

		if (config_parse("a.yml", "my-app", (struct text){ yaml, len }, &c, &m) == 0)
			config_free(&c);
		else
			assert_int_equal(sscanf(m.e[0].msg, "a.yml:%d:%d: ", &line, &column), 2);
	}
}

static void other_file_types_are_refused_in_one_sentence(void **state)
{
	char dir[] = "/tmp/observ-test-XXXXXX", path[64];
	struct config c;
	struct config_mistakes m;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(config_load(dir, "my-app", &c, &m), -EISDIR);
	assert_non_null(strstr(m.e[0].msg, ": this is a folder; name the file in it"));
	snprintf(path, sizeof path, "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(config_load(path, "my-app", &c, &m), -EINVAL);         /* and does not wait */
	assert_non_null(strstr(m.e[0].msg, "/fifo: this is not a regular file; name one"));
	unlink(path);
	rmdir(dir);
	assert_int_equal(config_load("/dev/null", "my-app", &c, &m), -EINVAL);
	assert_string_equal(m.e[0].msg, "/dev/null: this is not a regular file; name one");
	assert_int_equal(config_load("/nonexistent/config.yml", "my-app", &c, &m), -ENOENT);
	assert_string_equal(m.e[0].msg,
			    "/nonexistent/config.yml: there is no such file; create it with a section "
			    "monitoring and the key postgres_url, or name another by --config");
	open_error("a.yml", EACCES, &m.e[0]);        /* root may read everything, so not by a file */
	assert_string_equal(m.e[0].msg,
			    "a.yml: permission denied; let the agent's user read the file and enter its "
			    "folders");
}

/* Write `size` bytes, a good section and then a comment, and load them. */
static int load_of_size(const char *path, size_t size, struct config_mistakes *m)
{
	CLEANUP(free_p) char *text = malloc(size);
	FILE *out = fopen(path, "w");
	struct config c;
	int r;

	memset(text, '#', size);
	memcpy(text, "monitoring: {}\n", 15);
	assert_int_equal(fwrite(text, 1, size, out), size);
	fclose(out);
	r = config_load(path, "my-app", &c, m);
	if (r == 0)
		config_free(&c);
	return r;
}

static void a_file_over_one_mebibyte_is_refused(void **state)
{
	char path[] = "/tmp/observ-test-XXXXXX";
	int fd = mkstemp(path);
	struct config_mistakes m;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(load_of_size(path, 1 << 20, &m), 0);
	assert_int_equal(load_of_size(path, (1 << 20) + 1, &m), -EFBIG);
	assert_non_null(strstr(m.e[0].msg, ": the file is larger than 1048576 bytes; is it the right one?"));
	assert_int_equal(load_of_size(path, (1 << 20) + 100000, &m), -EFBIG);
	unlink(path);
}

static void an_application_name_cannot_leave_its_folder(void **state)
{
	static const char *const bad[] = { "", "..", ".", "a/b", "../a", "a b", "-a", "a\n", "\xc3\xa9",
					   "a0123456789a0123456789a0123456789a0123456789a0123456789"
					   "a0123456789a0123456789a0123456789a0123456789aa" };
	static const char *const good[] = { "a", "my-app", "shop.v2", "A_1", "_x" };
	struct config c;
	struct config_mistakes m;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(config_parse("a.yml", bad[i], TEXT("monitoring: {}"), &c, &m), -EINVAL);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(config_parse("a.yml", good[i], TEXT("monitoring: {}"), &c, &m), 0);
		config_free(&c);
	}
}

/* ---- what is read ----------------------------------------------------------------- */

static void a_minimal_file_gets_the_defaults(void **state)
{
	struct config c = parsed("monitoring:\n  enabled: true\n  postgres_url: postgres:///observ\n");
	char host[256] = "";

	(void)state;
	gethostname(host, sizeof host - 1);
	assert_true(c.enabled);
	assert_string_equal(c.app, "my-app");
	assert_string_equal(c.vps_name, host);
	assert_string_equal(c.app_unit, "my-app.service");
	assert_string_equal(c.log_level, "info");
	assert_true(c.interval_us == 60 * S);
	assert_int_equal(c.n_checks + c.n_log_files, 0);
	config_free(&c);
}

static void nothing_is_monitored_unless_enabled(void **state)
{
	struct config c = parsed("monitoring: {}");

	(void)state;
	assert_false(c.enabled);
	assert_null(c.postgres_url);
	config_free(&c);
}

static void each_log_file_has_its_settings(void **state)
{
	struct config c = parsed("monitoring:\n"
				 "  log_files:\n"
				 "    - /a/*.log\n"
				 "    - {path: /b.log, timezone: Asia/Kolkata, multiline_start: ^BEGIN, "
				 "warn_4xx: true}\n"
				 "    - {path: \"/{app}.log\", format: raw, timezone: Europe/Berlin}\n"
				 "  log_timezone: Europe/Berlin\n");
	const struct log_file_config *b = config_log_file(&c, "/b.log");

	(void)state;
	assert_ptr_equal(b, &c.log_files[1]);
	assert_string_equal(b->zone->name, "Asia/Kolkata");
	assert_true(b->warn_4xx && line_start_matches(b->start, TEXT("BEGIN")));
	assert_ptr_equal(config_log_file(&c, "/a/x.log"), &c.log_files[0]);
	assert_true(!c.log_files[0].start && !c.log_files[0].warn_4xx);
	assert_string_equal(c.log_files[0].format, "auto");
	assert_string_equal(config_log_file(&c, "/my-app.log")->format, "raw");
	assert_ptr_equal(c.log_files[0].zone, c.log_files[2].zone);     /* loaded once */
	assert_null(config_log_file(&c, "/a/b/x.log"));
	config_free(&c);
}

static void the_first_entry_that_matches_a_file_decides(void **state)
{
	struct config c = parsed("monitoring: {log_files: [{path: /a/special.log, format: raw}, /a/*.log]}");

	(void)state;
	assert_string_equal(config_log_file(&c, "/a/special.log")->format, "raw");
	assert_string_equal(config_log_file(&c, "/a/other.log")->format, "auto");
	assert_null(c.log_files[0].zone);                               /* the machine's */
	config_free(&c);
}

static void all_keys_are_read(void **state)
{
	struct config c = parsed(all_keys);
	const struct check_config *b = &c.checks[1];

	(void)state;
	assert_true(c.enabled);
	assert_string_equal(c.postgres_url, "host=db password='it\\'s hunter2' dbname=observ");
	assert_string_equal(c.vps_name, "web-1");
	assert_true(c.interval_us == 300 * S);
	assert_string_equal(c.app_unit, "worker@my-app.service");
	assert_string_equal(c.log_level, "debug");
	assert_int_equal(c.n_checks, 3);
	assert_string_equal(b->url, "http://user:hunter2@b.example:8080/");
	assert_true(b->interval_us == 30 * S && b->timeout_us == 2 * S && b->retry_interval_us == 90 * S);
	assert_string_equal(b->method, "POST");
	assert_int_equal(b->n_expect_status, 3);
	assert_true(b->expect_status[0].from == 204 && b->expect_status[0].to == 204);
	assert_true(b->expect_status[1].from == 300 && b->expect_status[1].to == 399);
	assert_true(b->expect_status[2].from == 418 && b->expect_status[2].to == 418);
	assert_string_equal(b->expect_body, "two\nlines\n");
	assert_string_equal(b->headers[0], "Authorization: Bearer hunter2");
	assert_string_equal(b->headers[1], "X-Empty: -");
	assert_null(b->headers[2]);
	assert_true(b->retries == 0 && b->max_redirects == 3 && !b->verify_tls);
	assert_int_equal(c.n_log_files, 3);
	assert_string_equal(c.log_files[0].path, "/var/log/my-app/*.log");
	assert_string_equal(c.log_files[1].path, "/opt/deployments/my-app/current/my-app.log");
	assert_string_equal(c.log_files[0].format, "auto");
	config_free(&c);
}

static void a_check_takes_its_defaults_from_the_section_wherever_that_is_written(void **state)
{
	struct config c =
		parsed("monitoring:\n  health_checks: [\"http://a/\", {url: \"http://b/\", interval: 3}]\n"
				 "  collection_interval: 90\n");

	(void)state;
	assert_true(c.checks[0].interval_us == 90 * S && c.checks[0].timeout_us == 5 * S);
	assert_true(c.checks[1].interval_us == 3 * S && c.checks[1].timeout_us == 3 * S);
	assert_true(c.checks[0].retries == 2 && c.checks[0].retry_interval_us == 5 * S &&
		    c.checks[0].verify_tls);
	assert_true(c.checks[0].expect_status[0].from == 200 && c.checks[0].expect_status[0].to == 299);
	assert_int_equal(c.checks[0].n_expect_status, 1);
	assert_int_equal(c.checks[0].max_redirects, 0);
	assert_string_equal(c.checks[0].method, "GET");
	assert_null(c.checks[0].expect_body);
	config_free(&c);
}

static void times_may_have_units(void **state)
{
	static const struct { const char *s; int64_t seconds; } rows[] = {
		{ "10", 10 }, { "90s", 90 }, { "5m", 300 }, { "1h", 3600 }, { "1d", 86400 },
		{ "1h1m1s", 3661 }, { "\"60\"", 60 }, { "010", 10 }, { "+60", 60 },
	};
	char yaml[128];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct config c;

		snprintf(yaml, sizeof yaml, "monitoring: {collection_interval: %s}", rows[i].s);
		c = parsed(yaml);
		assert_true(c.interval_us == rows[i].seconds * S);
		config_free(&c);
	}
}

static void other_sections_are_left_alone(void **state)
{
	struct config c = parsed("%YAML 1.1\n---\n"
				 "base: &base {a: !!int 1, a: 2, ? [x, y] : z}\n"
				 "a: &a [*base, *base]\n"
				 "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
				 "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
				 "d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
				 "<<: *base\n"
				 "nested: {monitoring: {enabled: nonsense}}\n"
				 "\"monitoring\":\n  vps_name: right\n"
				 "after: !tag [[[[[[[[[[[[[[[[[[[[[[deep]]]]]]]]]]]]]]]]]]]]]]\n"
				 "after: ${NO_SUCH_VARIABLE}\n...\n");

	(void)state;
	assert_string_equal(c.vps_name, "right");
	config_free(&c);
}

static void a_byte_order_mark_and_dos_line_ends_are_fine(void **state)
{
	struct config c = parsed("\xef\xbb\xbfmonitoring:\r\n  vps_name: a\r\n  log_files:\r\n    - /b\r\n");

	(void)state;
	assert_string_equal(c.vps_name, "a");
	assert_string_equal(c.log_files[0].path, "/b");
	config_free(&c);
}

/* libpq and curl get the secret itself, whatever characters it has; nobody is shown it. */
static void a_credential_is_escaped_for_its_place(void **state)
{
	static const struct { const char *written, *read; } rows[] = {
		{ "postgres://a:${CRED:db}@h/d", "postgres://a:it%27s%2Fhunter2%20%40%5C@h/d" },
		{ "host=h password=${CRED:db} user=a", "host=h password=it\\'s/hunter2\\ @\\\\ user=a" },
		{ "host=h password='${CRED:db}' user=a", "host=h password='it\\'s/hunter2\\ @\\\\' user=a" },
		{ "${CRED:url}", "postgres://a:hunter2@h/d" },
		{ "postgres://a:$${CRED:db}@h/d", "postgres://a:${CRED:db}@h/d" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CLEANUP(free_p) char *printed = NULL;
		char yaml[512];
		struct config c;
		size_t size;
		FILE *out = open_memstream(&printed, &size);

		snprintf(yaml, sizeof yaml,
			 "monitoring:\n  enabled: true\n  postgres_url: \"%s\"\n  health_checks:\n"
			 "    - url: http://h/?token=${CRED:db}\n"
			 "      headers: {Authorization: \"Bearer ${CRED:db}\"}\n",
			 rows[i].written);
		c = parsed(yaml);
		assert_string_equal(c.postgres_url, rows[i].read);
		assert_string_equal(c.checks[0].url, "http://h/?token=it%27s%2Fhunter2%20%40%5C");
		assert_string_equal(c.checks[0].headers[0], "Authorization: Bearer it's/hunter2 @\\");
		config_print(&c, out);
		fclose(out);
		assert_null(strstr(printed, "hunter2"));
		config_free(&c);
	}
}

static void assert_secrets(const struct secret *s, const char *const *want)
{
	for (; *want; want++) {
		const struct secret *found = s;

		while (found && strcmp(found->text, *want) != 0)
			found = found->next;
		if (!found)
			fail_msg("%s is not looked for", *want);
	}
}

/* Whatever came from outside the file, and what its place tells to be a secret, is in no URL that is shown.
 * */
static void a_url_is_shown_without_its_secrets(void **state)
{
	static const struct { const char *url, *shown, *secrets[6]; } rows[] = {
		{ "http://h/x?token=${CRED:db}", "http://h/x?token=***",
		  { "it%27s%2Fhunter2%20%40%5C", "it's", "hunter2" } },
		{ "http://h/x?q=${SECRET}&r=1", "http://h/x?q=***&r=1", { "hunter2" } },
		{ "http://h/${CRED:db}/in#${SECRET}", "http://h/***/in#***",
		  { "it%27s%2Fhunter2%20%40%5C", "hunter2" } },
		{ "http://h/${SECRET}${SECRET}", "http://h/***", { "hunter2", "hunter2hunter2" } },
		{ "http://user:pw@h/", "http://***@h/", { "user:pw", "user", "pw" } },
		{ "http://user:${SECRET}@h:80/", "http://***@h:80/", { "user", "hunter2" } },
		{ "http://${CRED:db}@h/", "http://***@h/", { "it%27s%2Fhunter2%20%40%5C" } },
		{ "http://h/?api_key=literal&b=2", "http://h/?api_key=***&b=2", { "literal" } },
		{ "http://${SECRET}.example:8080/", "http://***.example:8080/", { "hunter2" } },
		{ "http://h:${PORT}/@scope/b", "http://h:***/@scope/b", { "8080" } },
		{ "${BASE}/health", "***/health", { "pw", "internal.example", "user", "8080", "deep" } },
		{ "${BASE}", "***", { "http://user:pw@internal.example:8080/deep", "internal.example" } },
		{ "${CRED:hook}", "***", { "http://hook.example/T0/B1", "hook.example", "T0", "B1" } },
		{ "http://h/${EMPTY}x", "http://h/***x", { NULL } },
		{ "http://h/$${SECRET}", "http://h/${SECRET}", { NULL } },
		{ "http://h/@user?a=b@c", "http://h/@user?a=b@c", { NULL } },
	};

	(void)state;
	setenv("BASE", "http://user:pw@internal.example:8080/deep", 1);
	setenv("PORT", "8080", 1);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char yaml[256];
		struct config c;

		snprintf(yaml, sizeof yaml, "monitoring:\n  health_checks:\n    - url: \"%s\"\n",
			 rows[i].url);
		c = parsed(yaml);
		assert_string_equal(c.checks[0].shown_url, rows[i].shown);
		assert_secrets(c.checks[0].secrets, rows[i].secrets);
		config_free(&c);
	}
}

static void the_secrets_of_headers_are_known(void **state)
{
	static const char *const want[] = { "hunter2", "Basic aGVsbG8=", "aGVsbG8", NULL };
	struct config c = parsed("monitoring:\n  health_checks:\n    - url: http://h/\n"
				 "      headers: {X-Any: \"a ${SECRET}\", Authorization: Basic aGVsbG8=, "
				 "Accept: text/html}\n");

	(void)state;
	assert_secrets(c.checks[0].secrets, want);
	for (const struct secret *s = c.checks[0].secrets; s; s = s->next)
		assert_null(strstr(s->text, "html"));
	config_free(&c);
}

static void a_postgres_url_is_shown_without_its_secrets(void **state)
{
	static const struct { const char *url, *shown; } rows[] = {
		{ "postgres://a:${CRED:db}@h/d", "postgres://a:***@h/d" },
		{ "postgres://${SECRET}:pw@h/d?application_name=${SECRET}",
		  "postgres://***:***@h/d?application_name=***" },
		{ "host=h password=${CRED:db} user=a", "host=h password=*** user=a" },
		{ "host=h user=${SECRET}", "host=h user=***" },
		{ "${CRED:url}", "postgres://a:***@h/d" },
		{ "${DATABASE_URL}", "postgres://a:***@h/d?sslpassword=***" },
	};

	(void)state;
	setenv("DATABASE_URL", "postgres://a:pw@h/d?sslpassword=x", 1);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char yaml[256];
		struct config c;

		snprintf(yaml, sizeof yaml, "monitoring:\n  enabled: true\n  postgres_url: \"%s\"\n",
			 rows[i].url);
		c = parsed(yaml);
		assert_string_equal(c.shown_postgres_url, rows[i].shown);
		config_free(&c);
	}
}

static void a_credential_is_read_again_without_its_line_end(void **state)
{
	static const struct { const char *file, *url; } rows[] = {
		{ "one", "postgres://a:one@h/d" }, { "two\n", "postgres://a:two@h/d" },
		{ "x\n\n", "postgres://a:x%0A@h/d" },
	};
	char dir[] = "/tmp/observ-test-XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	snprintf(path, sizeof path, "%s/changes", dir);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		FILE *out = fopen(path, "w");
		struct config c;

		fputs(rows[i].file, out);
		fclose(out);
		c = parsed("monitoring:\n  enabled: true\n"
			   "  postgres_url: postgres://a:${CRED:changes}@h/d\n");
		assert_string_equal(c.postgres_url, rows[i].url);
		config_free(&c);
	}
	unlink(path);
	rmdir(dir);
	setenv("CREDENTIALS_DIRECTORY", "tests/unit/credentials", 1);
}

static void without_a_unit_the_message_says_how_to_get_a_credential(void **state)
{
	struct config c;
	struct config_mistakes m;

	(void)state;
	unsetenv("CREDENTIALS_DIRECTORY");
	unsetenv("NOTIFY_SOCKET");              /* in a container there may be one */
	assert_int_equal(config_parse("a.yml", "no-such-app",
				      text_of("monitoring:\n  postgres_url: postgres://a:${CRED:db}@h\n"), &c,
				      &m), -EINVAL);
	assert_string_equal(m.e[0].msg,
			    "a.yml:2:17: postgres_url needs the credential db, which systemd gives to the "
			    "unit, and there is none; write it into /etc/credstore/obs-agent.no-such-app.db "
			    "(mode 0600), name it in the unit as /usr/share/observ/drop-ins/credentials.conf "
			    "shows, and restart the unit");
	assert_int_equal(config_parse("a.yml", "a",
				      text_of("monitoring:\n  postgres_url: ${CRED:database_url}\n"), &c, &m),
				      -EINVAL);
	assert_string_equal(m.e[0].msg,
			    "a.yml:2:17: postgres_url needs the credential database_url, which systemd gives "
			    "to the unit, and there is none; write it into "
			    "/etc/credstore/obs-agent.a.database_url (mode 0600), and restart the unit");
	setenv("CREDENTIALS_DIRECTORY", "tests/unit/credentials", 1);
}

static void a_variable_can_never_become_yaml(void **state)
{
	struct config c = parsed("monitoring:\n  health_checks:\n    - url: http://a/\n"
				 "      expect_body: <${SYNTAX}>\n"
				 "    - url: http://b/\n      expect_body: \"<${SYNTAX}>\"\n");

	(void)state;
	assert_int_equal(c.n_checks, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_true(strlen(c.checks[i].expect_body) == strlen(getenv("SYNTAX")) + 2);
		assert_memory_equal(c.checks[i].expect_body + 1, getenv("SYNTAX"), strlen(getenv("SYNTAX")));
	}
	config_free(&c);
}

static void a_dollar_is_special_only_before_a_brace(void **state)
{
	struct config c = parsed("monitoring:\n  vps_name: a$b$$c$${SECRET}$$${SECRET}-${SECRET}$\n");

	(void)state;
	assert_string_equal(c.vps_name, "a$b$$c${SECRET}$${SECRET}-hunter2$");
	config_free(&c);
}

static int all_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_broken_file_gets_its_sentence),
		cmocka_unit_test(every_mistake_is_named_in_the_order_of_the_file),
		cmocka_unit_test(no_mistake_causes_a_second_message),
		cmocka_unit_test(a_file_cut_anywhere_is_read_or_refused_with_a_place),
		cmocka_unit_test(other_file_types_are_refused_in_one_sentence),
		cmocka_unit_test(a_file_over_one_mebibyte_is_refused),
		cmocka_unit_test(an_application_name_cannot_leave_its_folder),
		cmocka_unit_test(a_minimal_file_gets_the_defaults),
		cmocka_unit_test(nothing_is_monitored_unless_enabled),
		cmocka_unit_test(each_log_file_has_its_settings),
		cmocka_unit_test(the_first_entry_that_matches_a_file_decides),
		cmocka_unit_test(all_keys_are_read),
		cmocka_unit_test(a_check_takes_its_defaults_from_the_section_wherever_that_is_written),
		cmocka_unit_test(times_may_have_units),
		cmocka_unit_test(other_sections_are_left_alone),
		cmocka_unit_test(a_byte_order_mark_and_dos_line_ends_are_fine),
		cmocka_unit_test(a_credential_is_escaped_for_its_place),
		cmocka_unit_test(a_url_is_shown_without_its_secrets),
		cmocka_unit_test(the_secrets_of_headers_are_known),
		cmocka_unit_test(a_postgres_url_is_shown_without_its_secrets),
		cmocka_unit_test(a_credential_is_read_again_without_its_line_end),
		cmocka_unit_test(without_a_unit_the_message_says_how_to_get_a_credential),
		cmocka_unit_test(a_variable_can_never_become_yaml),
		cmocka_unit_test(a_dollar_is_special_only_before_a_brace),
	};

	return cmocka_run_group_tests(tests, set_environment, NULL);
}

static void print_mistake(void *data, const char *sentence)
{
	(void)data;
	puts(sentence);
}

/* What the agent says about a file, with the tests' environment. */
static int check_file(const char *path)
{
	struct config c;
	struct config_mistakes m;

	set_environment(NULL);
	if (config_load(path, "my-app", &c, &m) < 0) {
		config_mistakes_tell(&m, print_mistake, NULL);
		return 78;
	}
	config_print(&c, stdout);
	config_free(&c);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--print-keys") == 0) {
		config_print_keys(stdout, KEYS_MARKDOWN);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "--check") == 0)
		return check_file(argv[2]);
	return all_tests();
}
