/* Columns of a list of log lines: what names them, and how a column comes and goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fleet_hub/logs/columns.c"

/* The list as it is written again. */
static const char *written(const struct columns *c)
{
	static char text[COLUMNS_TEXT_MAX];
	struct buf out = BUF(sizeof text - 1);

	assert_true(columns_write(&out, c));
	memcpy(text, out.len ? out.data : "", out.len);
	text[out.len] = '\0';
	buf_free(&out);
	return text;
}

static void a_list_is_read_and_written(void **state)
{
	static const struct { const char *in, *out; } table[] = {
		{ "", "" },
		{ " , ,", "" },
		{ "time,level", "time,level" },
		{ " Timestamp , SERVER,application,msg", "time,vps,app,message" },
		{ "time,time,timestamp", "time" },
		{ "ctx.status,ctx.user.name", "ctx.status,ctx.user.name" },
		{ "ctx.\"a b\",ctx.\"a,b\"", "ctx.\"a b\",ctx.\"a,b\"" },
		{ "ctx.\"plain\"", "ctx.plain" },
		{ "ctx.\"q\\\"\\\\q\"", "ctx.\"q\\\"\\\\q\"" },
		{ "ctx.a&b=c", "ctx.\"a&b=c\"" },
		{ "context,id,logger", "context,id,logger" },
	};
	struct columns c, again;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		assert_int_equal(columns_read(&c, table[i].in, &e), 0);
		assert_string_equal(written(&c), table[i].out);
		assert_int_equal(columns_read(&again, table[i].out, &e), 0);
		assert_string_equal(written(&again), table[i].out);
	}
	assert_int_equal(columns_read(&c, NULL, &e), 0);
	assert_int_equal(c.n, 0);
}

static void what_names_no_column_is_refused_in_a_sentence(void **state)
{
	static const char *const wrong[] = { "colour", "time,colour", "ctx.", "ctx.\"\"", "\xc3\xa9" };
	char many[400] = "", long_key[COLUMN_KEY_MAX + 8] = "ctx.";
	struct columns c;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_int_equal(columns_read(&c, wrong[i], &e), -400);
		assert_non_null(strstr(e.msg, "names no column: write time, level"));
	}
	for (size_t i = 0, n = 0; i <= COLUMNS_MAX; i++)
		n += (size_t)snprintf(many + n, sizeof many - n, "ctx.k%zu,", i);
	assert_int_equal(columns_read(&c, many, &e), -400);
	assert_string_equal(e.msg, "A list has 16 columns at most.");
	memset(long_key + 4, 'k', COLUMN_KEY_MAX + 1);
	long_key[COLUMN_KEY_MAX + 5] = '\0';
	assert_int_equal(columns_read(&c, long_key, &e), -400);
	long_key[COLUMN_KEY_MAX + 4] = '\0';
	assert_int_equal(columns_read(&c, long_key, &e), 0);
}

static void a_column_comes_before_the_message_and_goes(void **state)
{
	struct columns c;
	struct column x;
	struct err e;

	(void)state;
	assert_int_equal(columns_read(&c, "time,message", &e), 0);
	assert_true(column_of_key(&x, TEXT("status")));
	columns_toggle(&c, &x);
	assert_string_equal(written(&c), "time,ctx.status,message");
	assert_true(columns_have(&c, &x));
	columns_toggle(&c, &x);
	assert_string_equal(written(&c), "time,message");
	assert_int_equal(columns_read(&c, "time", &e), 0);
	columns_toggle(&c, &x);
	assert_string_equal(written(&c), "time,ctx.status");
	assert_string_equal(column_title(&c.list[0]), "Time");
	assert_string_equal(column_title(&c.list[1]), "status");
	assert_false(column_of_key(&x, TEXT("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_is_read_and_written),
		cmocka_unit_test(what_names_no_column_is_refused_in_a_sentence),
		cmocka_unit_test(a_column_comes_before_the_message_and_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
