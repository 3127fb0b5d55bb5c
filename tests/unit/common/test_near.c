/* Which word a misspelt one may mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/settings/near.c"

static const char *nearest(const char *wrong)
{
	static const char *const words[] = { "status", "reload",    "doctor",         "enroll",    "explain",
					     "--help", "--version", "--check-config", "log_files", "file" };
	struct near n = near_to(text_of(wrong));

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		near_try(&n, words[i]);
	return n.word ? n.word : "";
}

static void a_slip_is_understood(void **state)
{
	static const char *const rows[][2] = {
		{ "doktor", "doctor" },       { "enrol", "enroll" },
		{ "Status", "status" },       { "statsu", "status" },
		{ "flie", "file" },           { "relaod", "reload" },
		{ "explane", "explain" },     { "--hlep", "--help" },
		{ "help", "--help" },         { "version", "--version" },
		{ "--verison", "--version" }, { "--chek-config", "--check-config" },
		{ "log_file", "log_files" },  { "log", "log_files" },
		{ "exp", "explain" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(nearest(rows[i][0]), rows[i][1]);
}

static void something_else_is_not(void **state)
{
	static const char *const rows[] = {
		"",        "a",       "xy", "shop", "start",
		"restart", "--app=x", "so", "lo",   "a word that is longer than all that are known"
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(nearest(rows[i]), "");
}

static void the_hint_is_a_part_of_a_sentence_or_nothing(void **state)
{
	char hint[NEAR_HINT_SIZE];
	struct near n = near_to(TEXT("doktor"));

	(void)state;
	assert_string_equal(near_hint(&n, "--", hint), "");
	near_try(&n, "doctor");
	near_try(&n, "doctors");
	assert_string_equal(near_hint(&n, "", hint), " (did you mean doctor?)");
	assert_string_equal(near_hint(&n, "--", hint), " (did you mean --doctor?)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slip_is_understood),
		cmocka_unit_test(something_else_is_not),
		cmocka_unit_test(the_hint_is_a_part_of_a_sentence_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
