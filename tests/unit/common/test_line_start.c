/* Regular expressions that tell where a record begins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "common/line_start.c"
#include "tests/unit/cpu_time.h"

static struct line_start *compiled(const char *pattern)
{
	struct line_start *p;
	struct err e;

	if (line_start_compile(&p, pattern, &e) < 0)
		fail_msg("%s: %s", pattern, e.msg);
	return p;
}

static void lines_match_as_with_grep_E(void **state)
{
	struct line_start *p = compiled("^(BEGIN|[[:digit:]]{4}-[0-9]{2}) ");

	(void)state;
	assert_true(line_start_matches(p, TEXT("BEGIN one")));
	assert_true(line_start_matches(p, TEXT("2026-11 one")));
	assert_false(line_start_matches(p, TEXT(" BEGIN one")));
	assert_false(line_start_matches(p, TEXT("")));
	assert_false(line_start_matches(p, (struct text){ "BEGIN one", 5 }));
	line_start_free(p);
	p = compiled("x\\{1[]{9999}]?$");
	assert_true(line_start_matches(p, TEXT("a\0x{1}")));
	line_start_free(p);
	line_start_free(NULL);
}

static void a_bad_expression_is_refused_with_a_remedy(void **state)
{
	static const char *const patterns[] = { "(", "[a", "a{2,1}", "*", "a{1001}", "((a{99}){99}){99}",
						"(a)\\1", "a{1,999999999999999999999}", "[[:nothing:]]" };
	struct line_start *p;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		if (line_start_compile(&p, patterns[i], &e) != -EINVAL)
			fail_msg("%s", patterns[i]);
		assert_non_null(strchr(e.msg, ';'));
	}
}

static void a_match_is_quick_whatever_the_line(void **state)
{
	static const char *const patterns[] = { "(a*)*b", "(a|aa)+$", "((a{1,9}){1,9}){1,9}b",
						"(.*)(.*)(.*)(.*)x$" };
	enum { BYTES = 1 << 20 };
	char *line = malloc(BYTES);

	(void)state;
	memset(line, 'a', BYTES);
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		struct line_start *p = compiled(patterns[i]);
		int64_t before = cpu_ms();

		for (int n = 0; n < 10; n++)
			line_start_matches(p, (struct text){ line, BYTES });
		if (cpu_ms() - before > cpu_ms_bound(1000))
			fail_msg("%s: %lld ms", patterns[i], (long long)(cpu_ms() - before));
		line_start_free(p);
	}
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_match_as_with_grep_E),
		cmocka_unit_test(a_bad_expression_is_refused_with_a_remedy),
		cmocka_unit_test(a_match_is_quick_whatever_the_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
