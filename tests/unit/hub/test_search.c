/* The search language: every text is a valid query, and becomes the right parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fleet_hub/logs/search.c"

struct expected {
	const char *q, *tree;
};

static void check_trees(const struct expected *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct search s;

		assert_true(search_parse(&s, text_of(list[i].q)));
		assert_string_equal(s.tree.data, list[i].tree);
		search_free(&s);
	}
}

#define CHECK_TREES(list) check_trees(list, sizeof(list) / sizeof(list)[0])
#define W(word) "{\"text\":\"" word "\",\"quoted\":false}"
#define Q(text) "{\"text\":\"" text "\",\"quoted\":true}"
#define COLUMN(name, op, value) "{\"column\":\"" name "\",\"op\":\"" op "\",\"value\":\"" value "\"}"
#define CONTEXT(key, op, value) "{\"context\":\"" key "\",\"op\":\"" op "\",\"value\":\"" value "\"}"
#define NOT(tree) "{\"not\":" tree "}"

static void words_and_operators_become_a_tree(void **state)
{
	static const struct expected list[] = {
		{ "", "{}" },
		{ " \t", "{}" },
		{ "fail", W("fail") },
		{ "two\twords", "{\"and\":[" W("two") "," W("words") "]}" },
		{ "\"payment failed\" now", "{\"and\":[" Q("payment failed") "," W("now") "]}" },
		{ "a -b -\"c d\"", "{\"and\":[" W("a") "," NOT(W("b")) "," NOT(Q("c d")) "]}" },
		{ "a OR b or c | d", "{\"or\":[" W("a") "," W("b") "," W("c") "," W("d") "]}" },
		{ "a b OR c", "{\"or\":[{\"and\":[" W("a") "," W("b") "]}," W("c") "]}" },
		{ "a AND b", "{\"and\":[" W("a") "," W("b") "]}" },
		{ "a (b OR c)", "{\"and\":[" W("a") ",{\"or\":[" W("b") "," W("c") "]}]}" },
		{ "NOT (a b)", NOT("{\"and\":[" W("a") "," W("b") "]}") },
		{ "-(a)", NOT(W("a")) },
		{ "NOT NOT a", W("a") },
		{ "not found and it", "{\"and\":[" W("not") "," W("found") "," W("and") "," W("it") "]}" },
		{ "-32601", Q("-32601") },
		{ "--32601", NOT(Q("-32601")) },
		{ "-5ms", NOT(W("5ms")) },
		{ "-1.5e-7", Q("-1.5e-7") },
		{ "-6.02E+23", Q("-6.02E+23") },
		{ "(-1e5)", Q("-1e5") },
		{ "-10.1.2.3", Q("-10.1.2.3") },
		{ "-1e", NOT(W("1e")) },
		{ "-1e5x", NOT(W("1e5x")) },
		{ "-1.", NOT(W("1.")) },
		{ "-", W("-") },
		{ "--", W("--") },
		{ "a - b", "{\"and\":[" W("a") "," W("-") "," W("b") "]}" },
		{ "f(x) (g(y))", "{\"and\":[" W("f(x)") "," W("g(y)") "]}" },
		{ "http://x:80/", W("http://x:80/") },
		{ "other:value", W("other:value") },
		{ "ctx.=1 app: level:", "{\"and\":[" W("ctx.=1") "," W("app:") "," W("level:") "]}" },
		{ "\"a \\\"b\\\" \\\\\"", Q("a \\\"b\\\" \\\\") },
	};

	(void)state;
	CHECK_TREES(list);
}

static void fields_become_conditions(void **state)
{
	static const struct expected list[] = {
		{ "app:shop", COLUMN("app_name", "=", "shop") },
		{ "APP=\"a b\"", COLUMN("app_name", "=", "a b") },
		{ "vps:a server:b host=c",
		  "{\"or\":[" COLUMN("vps_name", "=", "a") "," COLUMN("vps_name", "=", "b") ","
		  COLUMN("vps_name", "=", "c") "]}" },
		{ "app:a x app:b", "{\"and\":[{\"or\":[" COLUMN("app_name", "=", "a") ","
				   COLUMN("app_name", "=", "b") "]}," W("x") "]}" },
		{ "(app:a) (app:b)", "{\"and\":[" COLUMN("app_name", "=", "a") ","
				     COLUMN("app_name", "=", "b") "]}" },
		{ "-app:a -app:b", "{\"and\":[" NOT(COLUMN("app_name", "=", "a")) ","
				   NOT(COLUMN("app_name", "=", "b")) "]}" },
		{ "app!=a", NOT(COLUMN("app_name", "=", "a")) },
		{ "logger:http*", COLUMN("logger", "^", "http*") },
		{ "logger:\"http*\"", COLUMN("logger", "=", "http*") },
		{ "logger:*", COLUMN("logger", "=*", "*") },
		{ "ctx.user_id=123", CONTEXT("user_id", "=", "123") },
		{ "ctx.a.b:\"x \\\"y\"", CONTEXT("a.b", "=", "x \\\"y") },
		{ "-CTX.k=v=w", NOT(CONTEXT("k", "=", "v=w")) },
		{ "ctx.\"user id\"=5", CONTEXT("user id", "=", "5") },
		{ "ctx.\"a\\\"b=\":*", CONTEXT("a\\\"b=", "=*", "*") },
		{ "ctx.ms>500 ctx.ms<=1e3", "{\"and\":[" CONTEXT("ms", ">", "500") ","
					    CONTEXT("ms", "<=", "1e3") "]}" },
		{ "ctx.at>=2026-11-20T10:00:00Z", CONTEXT("at", ">=", "2026-11-20T10:00:00Z") },
		{ "(app:a OR app:b)",
		  "{\"or\":[" COLUMN("app_name", "=", "a") "," COLUMN("app_name", "=", "b") "]}" },
	};

	(void)state;
	CHECK_TREES(list);
}

static void levels_are_a_set(void **state)
{
	static const struct expected list[] = {
		{ "level:error", "{\"levels\":[\"ERROR\"]}" },
		{ "LEVEL=Error", "{\"levels\":[\"ERROR\"]}" },
		{ "level:error level:info", "{\"levels\":[\"INFO\",\"ERROR\"]}" },
		{ "level>=warning", "{\"levels\":[\"WARNING\",\"ERROR\",\"CRITICAL\"]}" },
		{ "level>warn", "{\"levels\":[\"ERROR\",\"CRITICAL\"]}" },
		{ "level<info", "{\"levels\":[\"TRACE\",\"DEBUG\"]}" },
		{ "level<=info", "{\"levels\":[\"TRACE\",\"DEBUG\",\"INFO\"]}" },
		{ "level<trace", "{\"levels\":[]}" },
		{ "-level:debug", NOT("{\"levels\":[\"DEBUG\"]}") },
		{ "level:err level:fatal", "{\"levels\":[\"ERROR\",\"CRITICAL\"]}" },
		{ "level:error level<info",
		  "{\"and\":[{\"levels\":[\"ERROR\"]},{\"levels\":[\"TRACE\",\"DEBUG\"]}]}" },
		{ "level:nonsense", W("level:nonsense") },
	};

	(void)state;
	CHECK_TREES(list);
}

static void what_is_not_meant_so_is_noted(void **state)
{
	static const struct {
		const char *q, *tree, *note;
	} list[] = {
		{ "level:nonsense x", "{\"and\":[" W("level:nonsense") "," W("x") "]}",
		  "level:nonsense names no level; searched as words" },
		{ "app>5", W("app>5"), "app>5 cannot be compared; searched as words" },
		{ "ctx.ms>fast", W("ctx.ms>fast"),
		  "ctx.ms>fast is compared with neither a number nor a time; searched as words" },
		{ "OR a", W("a"), "OR has nothing before it; left out" },
		{ "a OR", W("a"), "OR has nothing behind it; left out" },
		{ "a | | b", "{\"or\":[" W("a") "," W("b") "]}", "| has nothing before it; left out" },
		{ "AND a", W("a"), "AND has nothing before it; left out" },
		{ "a AND", W("a"), "AND has nothing behind it; left out" },
		{ "a NOT", W("a"), "NOT has nothing behind it; left out" },
		{ "(a NOT) b", "{\"and\":[" W("a") "," W("b") "]}", "NOT has nothing behind it; left out" },
		{ "a ()", W("a"), "() is empty; left out" },
		{ "(a b", "{\"and\":[" W("a") "," W("b") "]}", "(a b has no ) at its end" },
		{ "\"open end", Q("open end"), "\"open end has no quote at its end" },
		{ "OR", Q("OR"), "OR is searched as text" },
		{ "()", Q("()"), "() is searched as text" },
		{ "\"\"", Q("\\\"\\\""), "\"\" is searched as text" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
		struct search s;

		assert_true(search_parse(&s, text_of(list[i].q)));
		assert_string_equal(s.tree.data, list[i].tree);
		assert_string_equal(s.note, list[i].note);
		search_free(&s);
	}
}

static void the_query_is_said_in_words(void **state)
{
	static const struct { const char *q, *said; } list[] = {
		{ "", "" },
		{ "fail \"a b\"", "words \"fail\" and the text \"a b\"" },
		{ "a (b OR -c)", "words \"a\" and (words \"b\" or not words \"c\")" },
		{ "level>=error app:x", "level ERROR or CRITICAL and application is \"x\"" },
		{ "ctx.ms>500 logger:h* vps:*",
		  "context ms above \"500\" and logger begins with \"h\" and server exists" },
		{ "level<trace", "no level" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
		struct search s;

		assert_true(search_parse(&s, text_of(list[i].q)));
		assert_string_equal(s.understood.data, list[i].said);
		search_free(&s);
	}
}

static void deep_groups_end_at_a_limit(void **state)
{
	char query[200] = "";
	struct search s;

	(void)state;
	memset(query, '(', 100);
	strncat(query, "a", 1);
	assert_true(search_parse(&s, text_of(query)));
	assert_non_null(strstr(s.note, "more than 8 groups"));
	search_free(&s);
}

static void long_texts_are_cut_between_characters_and_marked(void **state)
{
	static char query[SEARCH_TEXT_MAX + 200];
	struct search s;

	(void)state;
	for (size_t i = 0; i + 3 < sizeof query; i += 3)
		memcpy(query + i, "\u20ac", 3);
	assert_true(search_parse(&s, text_of(query)));
	assert_non_null(strstr(s.note, "longer than"));
	assert_int_equal(s.n_terms, 1);
	assert_int_equal(s.term[0].len % 3, 0);
	assert_true(s.term[0].len > SEARCH_TERM_LEN - 3);
	search_free(&s);
}

static void many_terms_end_at_a_limit(void **state)
{
	char query[400];
	struct search s;

	(void)state;
	for (size_t i = 0; i < 100; i++)
		memcpy(query + 2 * i, "a ", 3);
	assert_true(search_parse(&s, text_of(query)));
	assert_int_equal(s.n_terms, SEARCH_TERMS_MAX);
	assert_non_null(strstr(s.note, "left out"));
	search_free(&s);
}

/* The matches of q in text, in brackets. */
static void check_marks(const char *q, const char *text, const char *expected)
{
	struct text t = text_of(text);
	struct buf out = BUF(4096);
	struct search s;
	size_t at = 0, from, to;

	assert_true(search_parse(&s, text_of(q)));
	while (search_find(&s, t, at, &from, &to)) {
		assert_true(from >= at && to > from && to <= t.len);
		assert_true(buf_add(&out, t.s + at, from - at) && buf_addc(&out, '[') &&
			    buf_add(&out, t.s + from, to - from) && buf_addc(&out, ']'));
		at = to;
	}
	assert_true(buf_add(&out, t.s + at, t.len - at));
	assert_string_equal(buf_cstr(&out), expected);
	buf_free(&out);
	search_free(&s);
}

static void matches_are_found_as_the_index_finds_them(void **state)
{
	(void)state;
	check_marks("fail", "It failed: FAILURE, not defail", "It [failed]: [FAILURE], not defail");
	check_marks("\"payment failed\"", "payment failed; payment  failed, payment fails",
		    "[payment failed]; [payment  failed], payment fails");
	check_marks("user_id", "user_id=1 userid", "[user_id]=1 userid");
	check_marks("-fail ok", "ok fail", "[ok] fail");
	check_marks("b a", "a b ab", "[a] [b] [ab]");
	check_marks("app:x level:error", "app x level error", "app x level error");
	check_marks("!!! \"\"", "!!! x", "!!! x");
	check_marks("caf\u00e9", "ein caf\u00e9s.", "ein [caf\u00e9s].");
	check_marks("service http", "OrderService parseHTTPRequest", "Order[Service] parse[HTTPRequest]");
	check_marks("\u5931\u6557", "\u63a5\u7d9a\u5931\u6557\u3057", "\u63a5\u7d9a[\u5931\u6557]\u3057");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_operators_become_a_tree),
		cmocka_unit_test(fields_become_conditions),
		cmocka_unit_test(levels_are_a_set),
		cmocka_unit_test(what_is_not_meant_so_is_noted),
		cmocka_unit_test(the_query_is_said_in_words),
		cmocka_unit_test(deep_groups_end_at_a_limit),
		cmocka_unit_test(long_texts_are_cut_between_characters_and_marked),
		cmocka_unit_test(many_terms_end_at_a_limit),
		cmocka_unit_test(matches_are_found_as_the_index_finds_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
