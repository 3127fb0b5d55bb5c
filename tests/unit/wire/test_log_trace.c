/* How crashes begin, and what goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/log/log_trace.c"

static void crashes_begin_with_their_level(void **state)
{
	static const struct {
		const char *line;
		enum log_trace trace;
		enum log_level level;
	} rows[] = {
		{ "Traceback (most recent call last):", TRACE_PYTHON, LEVEL_ERROR },
		{ "panic: runtime error: x", TRACE_GO, LEVEL_CRITICAL },
		{ "goroutine 1 [running]:", TRACE_GO, LEVEL_ERROR },
		{ "/srv/app.js:3", TRACE_NODE, LEVEL_ERROR },
		{ "Exception in thread \"main\" java.lang.Error", TRACE_OTHER, LEVEL_ERROR },
		{ "thread 'main' panicked at src/main.rs:2:5:", TRACE_OTHER, LEVEL_ERROR },
		{ "Unhandled exception. System.Exception: x", TRACE_OTHER, LEVEL_ERROR },
		{ "terminate called after throwing an instance of 'x'", TRACE_OTHER, LEVEL_CRITICAL },
		{ "PHP Fatal error:  Uncaught Error: x", TRACE_OTHER, LEVEL_CRITICAL },
		{ "** (RuntimeError) boom", TRACE_OTHER, LEVEL_ERROR },
		{ "/srv/a.py:3: DeprecationWarning: old", TRACE_OTHER, LEVEL_WARNING },
		{ "goroutines are cheap", TRACE_NONE, LEVEL_INFO },
		{ "** (or so) it may be", TRACE_NONE, LEVEL_INFO },
		{ "panic is no option", TRACE_NONE, LEVEL_INFO },
		{ "/srv/app.js", TRACE_NONE, LEVEL_INFO },
		{ "", TRACE_NONE, LEVEL_INFO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum log_level level;

		if (log_trace_begins(text_of(rows[i].line), &level) != rows[i].trace ||
		    level != rows[i].level)
			fail_msg("%s: level %d", rows[i].line, level);
	}
}

static void what_goes_on_is_known_by_its_beginning(void **state)
{
	static const char *const yes[] = { "Caused by: x",
					   "... 2 more",
					   "}",
					   "})",
					   "},",
					   "#0 /srv/a.php(5): pay()",
					   "stack backtrace:",
					   "note: run with `RUST_BACKTRACE=1`" };
	static const char *const no[] = { "", "cause", "{", "}x", "#4 is my favourite", "note: run" };

	(void)state;
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		if (!log_trace_goes_on(text_of(yes[i])))
			fail_msg("%s", yes[i]);
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		if (log_trace_goes_on(text_of(no[i])))
			fail_msg("%s", no[i]);
}

static void exceptions_have_names(void **state)
{
	(void)state;
	assert_true(log_trace_names_exception(TEXT("java.io.IOException: no such file")));
	assert_true(log_trace_names_exception(TEXT("a.b.Error")));
	assert_false(log_trace_names_exception(TEXT("TypeError: x")));
	assert_true(log_trace_may_name_exception(TEXT("TypeError: x")));
	assert_false(log_trace_may_name_exception(TEXT("TypeErrors: x")));
	assert_false(log_trace_may_name_exception(TEXT("an Error: x")));
	assert_true(log_trace_is_frame(TEXT("\tat a.B.c(B.java:1)")));
	assert_false(log_trace_is_frame(TEXT("at home")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crashes_begin_with_their_level),
		cmocka_unit_test(what_goes_on_is_known_by_its_beginning),
		cmocka_unit_test(exceptions_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
