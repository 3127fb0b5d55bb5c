/* What libpq says, as sentences for a person. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/pg/pg_message.c"

#define AT(place) "connection to server at " place " failed: "
#define RUNNING "\n\tIs the server running on that host and accepting TCP/IP connections?\n"

static void lines_become_sentences_and_equal_ones_are_said_once(void **state)
{
	static const struct { const char *said, *line; } rows[] = {
		{ "", "" },
		{ "\n \n", "" },
		{ "one\n", "one" },
		{ "one\n two  three\n", "one; two three" },
		{ "one.\ntwo\n", "one. Two" },
		{ "FATAL:  no\nDETAIL:  because\nHINT:  do\n", "FATAL: no; DETAIL: because; HINT: do" },
		{ AT("\"10.0.0.1\", port 5432")
		  "FATAL:  28P01: password authentication failed for user \"u\"\n"
		  "LOCATION:  auth_failed, auth.c:335\n",
		  AT("\"10.0.0.1\", port 5432")
		  "FATAL: 28P01: password authentication failed for user \"u\"" },
		{ AT("\"h\" (::1), port 1") "Connection refused" RUNNING,
		  AT("\"h\" (::1), port 1")
		  "Connection refused; is the server running on that host and accepting TCP/IP "
		  "connections?" },
		{ AT("\"h\" (::1), port 1") "Connection refused" RUNNING
		  AT("\"h\" (127.0.0.1), port 1") "Connection refused" RUNNING,
		  AT("\"h\" (::1), port 1")
		  "Connection refused; is the server running on that host and accepting TCP/IP connections? "
		  "The same at \"h\" (127.0.0.1), port 1" },
		{ AT("\"::1\", port 1") "no\n" AT("\"::1\", port 1") "no\n" AT("\"127.0.0.1\", port 1") "no\n"
		  AT("\"127.0.0.1\", port 1") "no\n",
		  AT("\"::1\", port 1") "no; the same at \"127.0.0.1\", port 1" },
		{ AT("\"::1\", port 1") "no\n" AT("\"::1\", port 1") "no way\n",
		  AT("\"::1\", port 1") "no; " AT("\"::1\", port 1") "no way" },
	};
	char line[400];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		pg_one_line(rows[i].said, line, sizeof line);
		assert_string_equal(line, rows[i].line);
	}
}

static void a_hint_follows_a_sentence_or_a_question(void **state)
{
	char all[80] = "connect: ";

	(void)state;
	pg_add_sentence(all, sizeof all, "one");
	pg_add_sentence(all, sizeof all, "do this");
	pg_add_sentence(all, sizeof all, "is it there?");
	pg_add_sentence(all, sizeof all, "do that");
	pg_add_sentence(all, sizeof all, "do this");
	assert_string_equal(all, "connect: one; do this; is it there? Do that");
}

static void long_values_are_cut(void **state)
{
	char line[8], all[6] = "";

	(void)state;
	pg_one_line("a long line\n\tand a question?\nand another", line, sizeof line);
	assert_string_equal(line, "a long ");
	for (int i = 0; i < 3; i++)
		pg_add_sentence(all, sizeof all, "longer");
	assert_string_equal(all, "longe");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_become_sentences_and_equal_ones_are_said_once),
		cmocka_unit_test(a_hint_follows_a_sentence_or_a_question),
		cmocka_unit_test(long_values_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
