/* The search language: every text is a valid query, and becomes the right parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fleet_hub/pages/search.c"

static void words_phrases_not_and_or_become_a_tsquery(void **state)
{
	static const struct { const char *q, *words;
	} list[] = {
		{ "", "" },
		{ "fail", "'fail':*" },
		{ "  two\twords ", "'two':* & 'words':*" },
		{ "\"payment failed\" now", "'payment failed' & 'now':*" },
		{ "a -b -\"c d\"", "'a':* & !'b':* & !'c d'" },
		{ "a OR b or c | d", "'a':* | 'b':* | 'c':* | 'd':*" },
		{ "a b OR c", "'a':* & 'b':* | 'c':*" },
		{ "OR a OR", "'a':*" },
		{ "it's \\ & |x ! ( ) <-> :*",
		  "'it''s':* & '\\\\':* & '&':* & '|x':* & '!':* & '(':* & ')':* & '<->':* & ':*':*" },
		{ "\"open end", "'open end'" },
		{ "\"a \\\"b\\\" \\\\\"", "'a \"b\" \\\\'" },
		{ "-", "'-':*" },
		{ "--a", "!'-a':*" },
		{ "http://x:80/", "'http://x:80/':*" },
		{ "other:value", "'other:value':*" },
		{ "ctx.=1 app: level:", "'ctx.=1':* & 'app:':* & 'level:':*" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
		struct search s;

		assert_true(search_parse(&s, text_of(list[i].q)));
		assert_string_equal(s.words.data, list[i].words);
		search_free(&s);
	}
}

static void fields_become_lists(void **state)
{
	struct search s;

	(void)state;
	assert_true(search_parse(&s, TEXT("app:shop app:\"my \\\"app\\\"\" -app:a\\b vps:fra-1 server:x "
					  "host=y -logger:http,{} fail")));
	assert_string_equal(s.only[SEARCH_APP].data, "{\"shop\",\"my \\\"app\\\"\"}");
	assert_string_equal(s.not[SEARCH_APP].data, "{\"a\\\\b\"}");
	assert_string_equal(s.only[SEARCH_VPS].data, "{\"fra-1\",\"x\",\"y\"}");
	assert_string_equal(s.not[SEARCH_VPS].data, "{}");
	assert_string_equal(s.not[SEARCH_LOGGER].data, "{\"http,{}\"}");
	assert_string_equal(s.words.data, "'fail':*");
	search_free(&s);
}

static void context_pairs_become_json(void **state)
{
	struct search s;

	(void)state;
	assert_true(search_parse(&s, TEXT("ctx.user_id=123 ctx.a.b:\"x \\\"y\" -CTX.k=v=w")));
	assert_string_equal(
		s.context_only.data,
		"[{\"key\":\"user_id\",\"value\":\"123\"},{\"key\":\"a.b\",\"value\":\"x \\\"y\"}]");
	assert_string_equal(s.context_not.data, "[{\"key\":\"k\",\"value\":\"v=w\"}]");
	search_free(&s);
}

static void levels_are_a_set(void **state)
{
	enum { T = 1, D = 2, I = 4, W = 8, E = 16, C = 32 };
	static const struct { const char *q; unsigned levels; } list[] = {
		{ "", T | D | I | W | E | C },
		{ "level:error", E },
		{ "LEVEL=Error", E },
		{ "level:error level:info", E | I },
		{ "level>=warning", W | E | C },
		{ "level>=warn", W | E | C },
		{ "level>warning", E | C },
		{ "level<info", T | D },
		{ "level<=info", T | D | I },
		{ "-level:debug", T | I | W | E | C },
		{ "level>=info -level:error", I | W | C },
		{ "level:err level:fatal", E | C },
		{ "level:error level<info", 0 },
		{ "level:nonsense", T | D | I | W | E | C },
	};

	(void)state;
	for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
		struct search s;

		assert_true(search_parse(&s, text_of(list[i].q)));
		assert_int_equal(s.levels, list[i].levels);
		search_free(&s);
	}
}

static void unknown_syntax_is_searched_as_text_and_noted(void **state)
{
	struct search s;

	(void)state;
	assert_true(search_parse(&s, TEXT("level:nonsense x")));
	assert_string_equal(s.words.data, "'nonsense':* & 'x':*");
	assert_string_equal(s.note, "level:nonsense names no level; searched as words");
	search_free(&s);
	assert_true(search_parse(&s, TEXT("ctx.ms>5")));
	assert_non_null(strstr(s.note, "cannot be compared"));
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
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_phrases_not_and_or_become_a_tsquery),
		cmocka_unit_test(fields_become_lists),
		cmocka_unit_test(context_pairs_become_json),
		cmocka_unit_test(levels_are_a_set),
		cmocka_unit_test(unknown_syntax_is_searched_as_text_and_noted),
		cmocka_unit_test(long_texts_are_cut_between_characters_and_marked),
		cmocka_unit_test(many_terms_end_at_a_limit),
		cmocka_unit_test(matches_are_found_as_the_index_finds_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
