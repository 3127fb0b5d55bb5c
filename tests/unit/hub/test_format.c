/* Formatters of pages and tables: texts, links that keep their query, drawings, CSV. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "fleet_hub/view/format.c"
#include "fleet_hub/http/csv.h"

static void check(const struct request *r, const char *name, const char *in, const char *expected)
{
	template_formatter *f = format_find(text_of(name));
	struct buf out = BUF(65536);

	assert_non_null(f);
	assert_true(f(r, text_of(in), &out));
	assert_string_equal(buf_cstr(&out), expected);
	buf_free(&out);
}

static void numbers_are_for_people(void **state)
{
	(void)state;
	check(NULL, "age", "0.4", "0 s");
	check(NULL, "age", "59", "59 s");
	check(NULL, "age", "60", "1 min");
	check(NULL, "age", "7199", "1 h");
	check(NULL, "age", "172800", "2 d");
	check(NULL, "age", "-3", "0 s");
	check(NULL, "age", "soon", "soon");
	check(NULL, "num", "18204", "18,204");
	check(NULL, "num", "-1234567.891", "-1,234,567.891");
	check(NULL, "num", "999", "999");
	check(NULL, "num", "-999", "-999");
	check(NULL, "num", "", "");
	check(NULL, "bytes", "999", "999 B");
	check(NULL, "bytes", "1234567", "1.2 MB");
	check(NULL, "bytes", "45600", "46 kB");
	check(NULL, "bytes", "999999", "1.0 MB");
	check(NULL, "heat", "79.9", "");
	check(NULL, "heat", "80", "warm");
	check(NULL, "heat", "90", "hot");
	check(NULL, "zero", "0.0", "zero");
	check(NULL, "zero", "0.1", "");
}

static void times_are_for_people(void **state)
{
	(void)state;
	check(NULL, "clock", "2026-11-30T06:00:01.250000+00:00", "06:00:01");
	check(NULL, "day", "2026-11-30T06:00:01+02:00", "11-30 04:00");
	check(NULL, "date", "2027-01-01T00:30:01+02:00", "2026-12-31 22:30");
	check(NULL, "span", "2026-11-30T06:00:01Z 2026-11-30T00:00:00Z 2026-11-30T20:00:00Z", "06:00");
	check(NULL, "span", "2026-11-30T06:00:01Z 2026-11-30T00:00:00Z 2026-11-30T20:00:01Z", "Nov 30 06:00");
	check(NULL, "span", "2026-01-02T06:00:01Z 2025-01-01T00:00:00Z 2026-11-30T20:00:01Z", "Jan 02 06:00");
	check(NULL, "span", "soon", "soon");
	check(NULL, "clock", "", "");
	check(NULL, "plural", "1", "");
	check(NULL, "plural", "0", "s");
	check(NULL, "plural", "12", "s");
}

static void bars_are_stacked(void **state)
{
	(void)state;
	check(NULL, "bar", "600 62 60 3", "M30.0 0.0h10.0v62.0h-10.0z");
	check(NULL, "bar", "600 62 60 3 8 2", "M30.0 46.0h8.5v14.0h-8.5z");
	check(NULL, "bar", "600 62 60 3 8 2 4", "M30.0 18.0h8.5v28.0h-8.5z");
	check(NULL, "bar", "600 62 60 3 8 8", "M30.0 4.0h8.5v56.0h-8.5z");
	check(NULL, "bar", "600 62 60 3 8 2 0", "");
	check(NULL, "bar", "600 62 60 3 0 0", "");
	check(NULL, "bar", "600 62 0 3 8 2", "");
	check(NULL, "bar", "600 62 60 x 8 null", "");
	check(NULL, "bar", "", "");
}

static void links_keep_the_query_and_change_what_they_say(void **state)
{
	struct request r = {
		.base = "",
		.n_params = 4,
		.param = { { "q", "a b" }, { "sort", "cpu" }, { "range", "6h" }, { "evil", "x" } }
	};

	(void)state;
	check(&r, "with", "sort=name", "?q=a%20b&sort=name&range=6h");
	check(&r, "with", "sort=", "?q=a%20b&range=6h");
	check(&r, "with", "range=1h&from=&to=", "?q=a%20b&sort=cpu&range=1h");
	check(&r, "with", "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
	      "?q=a%20b&sort=cpu&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z");
	check(&r, "with", "before=x", "?q=a%20b&sort=cpu&range=6h&before=x");
	check(&r, "with", "format=csv", "?q=a%20b&sort=cpu&range=6h&format=csv");
	r.n_params = 0;
	check(&r, "with", "sort=", "?");
}

static void terms_are_added_excluded_and_dropped(void **state)
{
	struct request r = { .base = "", .n_params = 1, .param = { { "q", "x app:shop y" } } };

	(void)state;
	check(&r, "and", "vps:fra-1", "?q=x%20app:shop%20y%20vps:fra-1");
	check(&r, "and", "app:shop", "?q=x%20y%20app:shop");
	check(&r, "not", "app:shop", "?q=x%20y%20-app:shop");
	check(&r, "drop", "app:shop", "?q=x%20y");
	check(&r, "drop", "app:sho", "?q=x%20app:shop%20y");
	check(&r, "and", "ctx.k=a b&\"c", "?q=x%20app:shop%20y%20ctx.k%3D%22a%20b%26%5C%22c%22");
	check(&r, "term", "vps:my server", "vps:\"my server\"");
	check(&r, "term", "vps:fra-1", "vps:fra-1");
	check(&r, "term", "ctx.\"a=\\\"b\"=x*", "ctx.\"a=\\\"b\"=\"x*\"");
	check(&r, "term", "app:(x)", "app:\"(x)\"");
	check(&r, "term", "app:a:b", "app:a:b");
	r.param[0].value = "app:shop";
	check(&r, "drop", "app:shop", "?");
	r.param[0].value = "a or b";
	check(&r, "and", "app:x", "?q=%28a%20or%20b%29%20app:x");
	r.param[0].value = "(a OR b) \"c OR d\" for";
	check(&r, "and", "app:x", "?q=%28a%20OR%20b%29%20%22c%20OR%20d%22%20for%20app:x");
	r.param[0].value = "x (a \"b";
	check(&r, "not", "app:x", "?q=x%20%28a%20%22b%22%29%20-app:x");
}

static void a_term_takes_the_place_of_its_opposite(void **state)
{
	static const struct { const char *q, *formatter, *term, *expected; } table[] = {
		{ "x -app:a", "and", "app:a", "?q=x%20app:a" },
		{ "app:a x", "not", "app:a", "?q=x%20-app:a" },
		{ "-app:a", "drop", "app:a", "?" },
		{ "NOT app:a x", "and", "app:a", "?q=x%20app:a" },
		{ "NOT -app:a x", "drop", "app:a", "?q=x" },
		{ "app:a AND x", "drop", "app:a", "?q=x" },
		{ "x AND app:a", "drop", "app:a", "?q=x" },
		{ "x AND app:a AND y", "drop", "app:a", "?q=x%20AND%20y" },
		{ "level:error", "not", "level:ERROR", "?q=-level:ERROR" },
		{ "ctx.\"a b\"=1 x", "not", "ctx.\"a b\"=1", "?q=x%20-ctx.%22a%20b%22%3D1" },
		{ "-ctx.k=\"a b\"", "and", "ctx.k=a b", "?q=ctx.k%3D%22a%20b%22" },
		/* what only looks like the term stays */
		{ "app:ab", "drop", "app:a", "?q=app:ab" },
		{ "\"x app:a y\"", "drop", "app:a", "?q=%22x%20app:a%20y%22" },
		{ "(app:a y)", "drop", "app:a", "?q=%28app:a%20y%29" },
		{ "app:a OR b", "and", "app:a", "?q=%28app:a%20OR%20b%29%20app:a" },
		{ "app:a|b", "drop", "app:a", "?q=app:a%7Cb" },
		{ "a OR(b c)", "and", "app:x", "?q=%28a%20OR%28b%20c%29%29%20app:x" },
		{ "f(x OR y", "and", "app:x", "?q=%28f%28x%20OR%20y%29%20app:x" },
		{ "x\"y (a", "and", "app:x", "?q=x%22y%20%28a%29%20app:x" },
		{ "\"a\"\"b c", "and", "app:x", "?q=%22a%22%22b%20c%22%20app:x" },
		{ "NOT", "and", "app:x", "?q=NOT%20app:x" },
	};
	struct request r = { .base = "", .n_params = 1, .param = { { "q", "" } } };

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		r.param[0].value = table[i].q;
		check(&r, table[i].formatter, table[i].term, table[i].expected);
	}
	r.param[0].value = "app:a -app:b NOT app:c";
	assert_int_equal(link_stands(&r, TEXT("app:a")), LINK_WANTED);
	assert_int_equal(link_stands(&r, TEXT("app:b")), LINK_EXCLUDED);
	assert_int_equal(link_stands(&r, TEXT("app:c")), LINK_EXCLUDED);
	assert_int_equal(link_stands(&r, TEXT("app:d")), LINK_APART);
}

static void a_parameter_can_be_set_to_any_value(void **state)
{
	struct request r = { .base = "", .n_params = 2, .param = { { "q", "x" }, { "columns", "time" } } };

	(void)state;
	check(&r, "set", "columns=time,ctx.a&b=c", "?q=x&columns=time%2Cctx.a%26b%3Dc");
	check(&r, "set", "columns=", "?q=x");
	check(&r, "with", "range=6h", "?q=x&range=6h&columns=time");
	check(&r, "and", "app:x", "?q=x%20app:x&columns=time");
}

static void gaps_are_gaps(void **state)
{
	(void)state;
	check(NULL, "line", "30 12 0 10 [0, 5, 10, 5]", "M0.0 11.0L10.0 6.0L20.0 1.0L30.0 6.0");
	check(NULL, "line", "30 12 0 10 [0, null, 10, 5]", "M0.0 11.0h.1M20.0 1.0L30.0 6.0");
	check(NULL, "line", "30 12 0 10 [null,null]", "");
	check(NULL, "line", "30 12 0 10 ", "");
	check(NULL, "line", "30 12 0 10 [99]", "M0.0 1.0h.1");
	check(NULL, "line", "30 12 5 5 [1]", "");
	check(NULL, "line", "x", "");
	check(NULL, "band", "10 12 0 10 [0, 0] [10, 10]", "M0.0 1.0L10.0 1.0L10.0 11.0L0.0 11.0Z");
	check(NULL, "band", "20 12 0 10 [0, null, 0] [10, null, 10]",
	      "M0.0 1.0L0.0 11.0ZM20.0 1.0L20.0 11.0Z");
}

static void assets_have_an_address_with_their_hash(void **state)
{
	struct request r = { .base = "/hub" };
	struct buf out = BUF(256);

	(void)state;
	assert_true(link_to_asset(&r, TEXT("observ.css"), &out));
	assert_memory_equal(buf_cstr(&out), "/hub/static/observ.css?v=", 25);
	assert_int_equal(out.len, 25 + 16);
	assert_false(link_to_asset(&r, TEXT("../../etc/passwd"), &out));
	buf_free(&out);
}

static void check_csv(const char *json, const char *children, const char *expected)
{
	struct json_object *data = json_tokener_parse(json);
	struct buf out = BUF(65536);

	assert_non_null(data);
	assert_true(csv_write(data, "rows", children, &out));
	assert_string_equal(out.len ? buf_cstr(&out) : "", expected);
	json_object_put(data);
	buf_free(&out);
}

static void csv_is_quoted_and_no_cell_is_a_formula(void **state)
{
	(void)state;
	check_csv("{\"rows\":[{\"a\":\"x,\\\"y\\\"\\n\",\"b\":-1.5,\"c\":null}]}", NULL,
		  "a,b,c\r\n\"x,\"\"y\"\"\n\",-1.5,\r\n");
	check_csv("{\"rows\":[{\"a\":\"=1+1\"},{\"a\":\"+x\"},{\"a\":\"-x\"},{\"a\":\"@x\"},{\"a\":\"\\tx\"},"
		  "{\"a\":\"x=1\"}]}",
		  NULL, "a\r\n\"'=1+1\"\r\n\"'+x\"\r\n\"'-x\"\r\n\"'@x\"\r\n\"'\tx\"\r\nx=1\r\n");
	check_csv("{\"rows\":[{\"a\":\"\\n=x\"},{\"a\":\"＝1\"},{\"a\":\"＋1\"},{\"a\":\"－1\"},{\"a\":\"＠x\"},"
		  "{\"a\":\"、x\"}]}",
		  NULL, "a\r\n\"'\n=x\"\r\n\"'＝1\"\r\n\"'＋1\"\r\n\"'－1\"\r\n\"'＠x\"\r\n、x\r\n");
	check_csv("{\"rows\":[{\"=k\":1}]}", NULL, "\"'=k\"\r\n1\r\n");
	check_csv("{\"rows\":[]}", NULL, "");
	check_csv("{\"rows\":[{\"a\":1,\"o\":{\"k\":[1]},\"l\":[1]}]}", NULL,
		  "a,o\r\n1,\"{ \"\"k\"\": [ 1 ] }\"\r\n");
}

static void csv_gives_a_line_to_each_child(void **state)
{
	(void)state;
	check_csv("{\"rows\":[{\"s\":\"a\",\"apps\":[{\"n\":1},{\"n\":2}]},{\"s\":\"b\",\"apps\":[{\"n\":3}]}"
		  "]}",
		  "apps", "s,app_n\r\na,1\r\na,2\r\nb,3\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_for_people),
		cmocka_unit_test(times_are_for_people),
		cmocka_unit_test(bars_are_stacked),
		cmocka_unit_test(links_keep_the_query_and_change_what_they_say),
		cmocka_unit_test(terms_are_added_excluded_and_dropped),
		cmocka_unit_test(a_term_takes_the_place_of_its_opposite),
		cmocka_unit_test(a_parameter_can_be_set_to_any_value),
		cmocka_unit_test(gaps_are_gaps),
		cmocka_unit_test(assets_have_an_address_with_their_hash),
		cmocka_unit_test(csv_is_quoted_and_no_cell_is_a_formula),
		cmocka_unit_test(csv_gives_a_line_to_each_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
