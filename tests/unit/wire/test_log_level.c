/* Words and numbers that say how bad it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>

#include "wire/log/log_level.c"

/* The table of first letters is by hand: it must refuse none of the words. */
static void every_word_is_found_in_any_case(void **state)
{
	(void)state;
	for (size_t i = 0; i < WORDS; i++) {
		char upper[WORD_MAX + 1] = "";
		enum log_level level;

		assert_true(words[i].word.len <= WORD_MAX);
		for (size_t k = 0; k < words[i].word.len; k++)
			upper[k] = (char)toupper((unsigned char)words[i].word.s[k]);
		assert_true(log_level_word(words[i].word, &level, NULL));
		assert_int_equal(level, words[i].level);
		assert_true(log_level_word((struct text){ upper, words[i].word.len }, &level, NULL));
		assert_int_equal(level, words[i].level);
	}
}

static void what_is_no_word_is_refused(void **state)
{
	static const char *const no[] = { "",       "e",     "er",  "infos", "errors",
					  "warned", "fined", "zzz", "{{{",   "informationally" };
	enum log_level level;

	(void)state;
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		assert_false(log_level_word(text_of(no[i]), &level, NULL));
}

static void numbers_are_read_by_family(void **state)
{
	static const struct {
		const char *number;
		enum log_level_family family;
		int level;              /* -1: none */
	} rows[] = {
		{ "3", LEVELS_ANY, LEVEL_ERROR },             { "50", LEVELS_ANY, LEVEL_ERROR },
		{ "400", LEVELS_ANY, LEVEL_ERROR },           { "1000", LEVELS_ANY, LEVEL_ERROR },
		{ "40000", LEVELS_ANY, LEVEL_ERROR },         { "8", LEVELS_ANY, -1 },
		{ "40", LEVELS_PYTHON, LEVEL_ERROR },         { "50", LEVELS_PYTHON, LEVEL_CRITICAL },
		{ "17", LEVELS_OPENTELEMETRY, LEVEL_ERROR },  { "25", LEVELS_OPENTELEMETRY, -1 },
		{ "3", LEVELS_NEXTCLOUD, LEVEL_ERROR },       { "4", LEVELS_TSLOG, LEVEL_WARNING },
		{ "503", LEVELS_NONE, -1 },                   { "-1", LEVELS_ANY, -1 },
		{ "x", LEVELS_ANY, -1 },                      { "1e9", LEVELS_ANY, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum log_level level;
		bool found = log_level_number(text_of(rows[i].number), rows[i].family, &level);

		if (found ? (int)level != rows[i].level : rows[i].level >= 0)
			fail_msg("%s of family %d", rows[i].number, rows[i].family);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_word_is_found_in_any_case),
		cmocka_unit_test(what_is_no_word_is_refused),
		cmocka_unit_test(numbers_are_read_by_family),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
