/* obs_agent explain: what it says of a file, and by which settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "obs_agent/explain/explain.c"

static char path[64], said[1 << 16];

static int make_file(void **state)
{
	int fd;

	(void)state;
	snprintf(path, sizeof path, "/tmp/observ-test-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void write_text(const char *text, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	fclose(f);
}

static int explained(const struct config *c, struct err *e)
{
	CLEANUP(free_p) char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r = explain(path, c, out, e);

	fclose(out);
	snprintf(said, sizeof said, "%s", text);
	return r;
}

static void assert_said(const char *what)
{
	if (!strstr(said, what))
		fail_msg("\"%s\" is not in:\n%s", what, said);
}

static void what_most_lines_are_and_what_is_odd_is_shown(void **state)
{
	static const char text[] = "2026-11-20T10:00:00Z INFO one\n"
				   "2026-11-20T10:00:01Z ERROR two\n\tat a.B.c(B.java:1)\n"
				   "2026-11-20T10:00:02Z WARN \033[31mthree\033[m\n"
				   "{\"level\":\"info\",\"msg\":\"odd\"}\n"
				   "2026-11-20T10:00:03Z INFO last\n"
				   "half a li";
	struct err e;

	(void)state;
	write_text(text, sizeof text - 1);
	assert_int_equal(explained(NULL, &e), 0);
	assert_said("5 records of 6 lines\n");
	assert_said("  times     4 of 5 records have one: 2026-11-20T10:00:00.000000Z to "
		    "2026-11-20T10:00:03.000000Z\n");
	assert_said("stored as ERROR 1 WARNING 1 INFO 3\n");
	assert_said("odd record, at byte");
	assert_said("last record, at byte");
	assert_null(strchr(said, '\033'));
	assert_null(strstr(said, "settings"));
}

static void the_settings_of_the_file_are_used(void **state)
{
	static const char text[] = "# 2026-11-20 10:00:00\n2026-11-20 11:00:00 ERROR x\n";
	struct config_mistakes m;
	struct config c;
	struct err e;
	char yaml[512];

	(void)state;
	write_text(text, sizeof text - 1);
	snprintf(yaml, sizeof yaml,
		 "monitoring:\n  log_files:\n    - /tmp/no-such\n    - {path: \"%.*s?\", format: raw, "
		 "multiline_start: ^#}\n", (int)strlen(path) - 1, path);
	assert_int_equal(config_parse("a.yml", "my-app", text_of(yaml), &c, &m), 0);
	assert_int_equal(explained(&c, &e), 0);
	assert_said("settings  of log_files item /tmp/");
	assert_said("1 records of 2 lines");
	assert_said("times     0 of 1 records have one\n");
	config_free(&c);
	snprintf(yaml, sizeof yaml, "monitoring:\n  log_timezone: America/New_York\n  log_files: [\"%s\"]\n",
		 path);
	assert_int_equal(config_parse("a.yml", "my-app", text_of(yaml), &c, &m), 0);
	assert_int_equal(explained(&c, &e), 0);
	assert_said("2026-11-20T16:00:00.000000Z");
	config_free(&c);
	assert_int_equal(config_parse("a.yml", "my-app", TEXT("monitoring: {log_files: [/tmp/no-such]}"), &c,
				      &m), 0);
	assert_int_equal(explained(&c, &e), 0);
	assert_said("settings  the defaults: no item of log_files leads to this file\n");
	config_free(&c);
}

static void any_file_is_explained_or_refused_with_a_sentence(void **state)
{
	static char text[1 << 14];
	struct err e;

	(void)state;
	write_text("", 0);
	assert_int_equal(explained(NULL, &e), 0);
	assert_said("0 bytes, no whole line yet\n");
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)rand();
	write_text(text, sizeof text);
	assert_int_equal(explained(NULL, &e), 0);
	assert_int_equal(explain("/no/such/file", NULL, stdout, &e), -ENOENT);
	assert_int_equal(explain("/tmp", NULL, stdout, &e), -EINVAL);
	assert_string_equal(e.msg, "/tmp is not a regular file; name a log file");
}

static void a_file_of_blank_lines_takes_no_time(void **state)
{
	static char text[2 << 20];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = i % 2 ? '\n' : ' ';
	memcpy(text, "one\n", 4);
	memcpy(text + sizeof text - 4, "two\n", 4);
	alarm(20);                      /* it took minutes */
	write_text(text, sizeof text);
	assert_int_equal(explained(NULL, &e), 0);
	assert_said(", 2 records of 2 lines\n");
	assert_int_equal(explain_has_times(path, NULL, &e), 0);
	alarm(0);
}

static void a_log_does_not_reach_the_terminal(void **state)
{
	static const char text[] = "2026-11-20T10:00:00Z INFO a\xc2\x9b\x31m \xe2\x80\xaetxt\rb\xc3\xa9\n";
	struct err e;

	(void)state;
	write_text(text, sizeof text - 1);
	assert_int_equal(explained(NULL, &e), 0);
	assert_said("message   a?1m ?txtb\xc3\xa9\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_most_lines_are_and_what_is_odd_is_shown),
		cmocka_unit_test(the_settings_of_the_file_are_used),
		cmocka_unit_test(any_file_is_explained_or_refused_with_a_sentence),
		cmocka_unit_test(a_file_of_blank_lines_takes_no_time),
		cmocka_unit_test(a_log_does_not_reach_the_terminal),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
