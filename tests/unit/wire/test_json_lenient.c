/* JSON from what is not quite JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/json_lenient.c"

static void what_has_one_meaning_is_repaired(void **state)
{
	static const struct {
		const char *line, *json;
	} rows[] = {
		{ "{\"a\":NaN}", "{\"a\":\"NaN\"}" },
		{ "{\"a\":-Infinity,\"b\":1}", "{\"a\":\"-Infinity\",\"b\":1}" },
		{ "{\"a\":[1,2,],}", "{\"a\":[1,2]}" },
		{ "{\"a\":\"\\x41\"}", "{\"a\":\"A\"}" },
		{ "{\"a\":\"C:\\dir\"}", "{\"a\":\"C:\\\\dir\"}" },
		{ "{\"a\":\"x\ty\"}", "{\"a\":\"x\\u0009y\"}" },
		{ "{\"a\":\"\\x22\\x5c\\x0a\"}", "{\"a\":\"\\u0022\\u005c\\u000a\"}" },
		{ "{\"a\":true,\"b\":[-1.5e+3,null,] , \"c\":inf\n}",
		  "{\"a\":true,\"b\":[-1.5e+3,null] , \"c\":\"inf\"\n}" },
		{ "{\"a\":\"NaN, ],\\\"-inf\",\"b\":-inf}", "{\"a\":\"NaN, ],\\\"-inf\",\"b\":\"-inf\"}" },
		{ "{\"a\":\"\\u00e9\\u00g\"}", "{\"a\":\"\\u00e9\\\\u00g\"}" },
	};
	struct buf out = BUF(1024);

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		buf_reset(&out);
		if (!json_lenient(text_of(rows[i].line), &out))
			fail_msg("%s", rows[i].line);
		if (out.len != strlen(rows[i].json) || memcmp(out.data, rows[i].json, out.len) != 0)
			fail_msg("%s: %.*s", rows[i].line, (int)out.len, out.data);
	}
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_has_one_meaning_is_repaired) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
