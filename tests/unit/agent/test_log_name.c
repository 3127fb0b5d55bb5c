/* Names of log files and their rotated files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "obs_agent/tail/log_name.c"

static void a_rotated_name_is_made_of_the_logs(void **state)
{
	static const char *const parts[] = {
		"app.log.1",        "app.log.old",           "app.log.backup",     "app.log.1.bak",
		"app.log~",         "app.log-20261121",      "app-2026-11-21.log", "app.1.log",
		"app_20261121.log", "app.log.2026-11-21T02", "app.log-20261121-1764495157",
	};
	static const char *const others[] = {
		"app-worker.log", "app.log-audit-secret", "app.log.err",  "app.log.backups",
		"app.log.",       "application.log",      "ap.log.1",     "app.log.1.gz",
		"other.log.1",    "app-20261121.log.zst", "app-2026.err",
	};

	(void)state;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (!log_name_is_rotated("app.log", parts[i]))
			fail_msg("%s is a part of app.log", parts[i]);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (log_name_is_rotated("app.log", others[i]))
			fail_msg("%s is no part of app.log", others[i]);
}

/* Logs that are numbered stand beside each other. */
static void a_number_without_a_separator_is_no_rotation(void **state)
{
	(void)state;
	assert_true(log_name_is_rotated("app.log", "app20261121.log"));
	assert_false(log_name_is_rotated("app.log", "app2.log"));
	assert_false(log_name_is_rotated("1.log", "10.log"));
	assert_false(log_name_is_rotated("worker1.log", "worker120261121.log"));
	assert_false(log_name_is_of("1.log", "12.log.gz"));
	assert_true(log_name_is_of("1.log", "1-20261121.log.gz"));
}

static void a_rotated_name_has_the_root_of_its_log(void **state)
{
	static const struct {
		const char *name, *root;
	} names[] = {
		{ "app.log", "app.log" },                      { "app.log.1", "app.log" },
		{ "app.log.1.bak", "app.log" },                { "app.log-20261121", "app.log" },
		{ "app.1.log", "app.log" },                    { "app-2026-11-21.log", "app.log" },
		{ "app-20261121.log.old", "app.log" },         { "app-worker.log", "app-worker.log" },
		{ "app", "app" },                              { "app-worker.2.log", "app-worker.log" },
		{ "f00001.log", "f00001.log" },                { "app-20261121", "app" },
		{ "messages~", "messages" },                   { ".log", ".log" },
	};
	char root[32];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		log_name_root(names[i].name, root, sizeof root);
		assert_string_equal(root, names[i].root);
	}
	assert_true(log_name_same_root("app.1.log", "app.log.backup"));
	assert_false(log_name_same_root("app.log", "app-worker.log"));
}

static void a_path_is_split_at_its_last_slash(void **state)
{
	char dir[16];
	const char *name;

	(void)state;
	assert_true(log_name_split("/var/log/a.log", dir, sizeof dir, &name));
	assert_string_equal(dir, "/var/log");
	assert_string_equal(name, "a.log");
	assert_true(log_name_split("/a.log", dir, sizeof dir, &name));
	assert_string_equal(dir, "/");
	assert_false(log_name_split("a.log", dir, sizeof dir, &name));
	assert_false(log_name_split("/a/folder/too/long/a.log", dir, sizeof dir, &name));
}

static void packed_names_are_told(void **state)
{
	(void)state;
	assert_true(log_name_is_packed("app.log.2.gz"));
	assert_false(log_name_is_packed("gz"));
	assert_true(log_name_is_of("app.log", "app.log.2.gz"));
	assert_true(log_name_is_of("app.log", "app-20261121.log.gz"));
	assert_false(log_name_is_of("app.log", "apple.log.gz"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rotated_name_is_made_of_the_logs),
		cmocka_unit_test(a_number_without_a_separator_is_no_rotation),
		cmocka_unit_test(a_rotated_name_has_the_root_of_its_log),
		cmocka_unit_test(a_path_is_split_at_its_last_slash),
		cmocka_unit_test(packed_names_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
