/*
 * The template engine: each rule of the Mustache specification (https://github.com/mustache/spec,
 * modules comments, interpolation, inverted, partials, sections), in cases of our own, and what
 * is ours beyond it. With OBSERV_MUSTACHE_SPEC=DIR the specification's own JSON files in DIR are run too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glob.h>

#include "common/template/template.c"

struct example {
	const char *name, *template, *data, *expected;
	const char *partials;           /* a JSON object, NULL for none */
};

/* ---- what the templates of the tests may call ---- */

static struct json_object *partials;

static struct text find_text(const void *ctx, struct text name)
{
	struct json_object *v = NULL;

	(void)ctx;
	if (!partials || !json_object_object_get_ex(partials, name.s, &v))
		return (struct text){ NULL, 0 };
	return text_of(json_object_get_string(v));
}

static bool in_angles(const void *ctx, struct text in, struct buf *out)
{
	(void)ctx;
	return buf_addc(out, '<') && buf_add(out, in.s, in.len) && buf_addc(out, '>');
}

static template_formatter *find_formatter(const void *ctx, struct text name)
{
	(void)ctx;
	return text_eq(name, TEXT("angles")) ? in_angles : NULL;
}

static const struct template_env env = { .partial = find_text, .formatter = find_formatter, .raw = true };

static int render_json(const char *template, struct json_object *data, struct buf *out, struct err *e)
{
	int rc = template_render(text_of(template), data, &env, out, e);

	if (rc == 0)
		assert_non_null(buf_cstr(out));
	return rc;
}

static int render(const char *template, const char *data, struct buf *out, struct err *e)
{
	struct json_object *json = json_tokener_parse(data);
	int rc = render_json(template, json, out, e);

	json_object_put(json);
	return rc;
}

static void check(const struct example *c)
{
	struct buf out = BUF(1 << 20);
	struct err e = { 0 };

	partials = c->partials ? json_tokener_parse(c->partials) : NULL;
	if (render(c->template, c->data, &out, &e) < 0)
		fail_msg("%s: %s", c->name, e.msg);
	if (strcmp(out.len ? out.data : "", c->expected) != 0)
		fail_msg("%s: got [%s], expected [%s]", c->name, out.len ? out.data : "", c->expected);
	json_object_put(partials);
	partials = NULL;
	buf_free(&out);
}

#define CHECK_ALL(list)                                                                                      \
	do {                                                                                                 \
		for (size_t i_ = 0; i_ < sizeof list / sizeof list[0]; i_++)                                 \
			check(&list[i_]);                                                                    \
	} while (0)

/* ---- the specification's rules ---- */

static void values_are_interpolated_and_escaped(void **state)
{
	static const struct example list[] = {
		{ "no tag", "plain {text} } {\n", "{}", "plain {text} } {\n", NULL },
		{ "text", "to {{who}}!", "{\"who\":\"you\"}", "to you!", NULL },
		{ "escaped", "{{v}}", "{\"v\":\"<a href=\\\"x\\\">&'\"}",
		  "&lt;a href=&quot;x&quot;&gt;&amp;&#39;", NULL },
		{ "triple is raw", "{{{v}}}", "{\"v\":\"<&>\"}", "<&>", NULL },
		{ "ampersand is raw", "{{&v}} {{& v }}", "{\"v\":\"<&>\"}", "<&> <&>", NULL },
		{ "integer", "{{n}} {{{n}}} {{&n}}", "{\"n\":-7}", "-7 -7 -7", NULL },
		{ "decimal keeps its digits", "{{n}}", "{\"n\":1.250}", "1.250", NULL },
		{ "large integer", "{{n}}", "{\"n\":1763700000123456}", "1763700000123456", NULL },
		{ "absent", "[{{a}}{{{a}}}{{&a}}]", "{}", "[]", NULL },
		{ "null", "[{{a}}{{{a}}}]", "{\"a\":null}", "[]", NULL },
		{ "null hides an outer value", "{{#in}}[{{a}}]{{/in}}", "{\"a\":1,\"in\":{\"a\":null}}", "[]",
		  NULL },
		{ "false is shown", "{{a}}", "{\"a\":false}", "false", NULL },
		{ "whitespace around stays", "| {{v}} |\n  {{v}}\n", "{\"v\":\"x\"}", "| x |\n  x\n", NULL },
		{ "padding", "|{{  v\t}}|{{{ v }}}|", "{\"v\":\"x\"}", "|x|x|", NULL },
	};

	(void)state;
	CHECK_ALL(list);
}

static void dotted_names_go_inside(void **state)
{
	static const struct example list[] = {
		{ "two parts", "{{a.b}} {{{a.b}}} {{&a.b}}", "{\"a\":{\"b\":1}}", "1 1 1", NULL },
		{ "many parts", "{{a.b.c.d.e}}", "{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":\"deep\"}}}}}", "deep",
		  NULL },
		{ "broken chain", "[{{a.b.c}}]", "{\"a\":{}}", "[]", NULL },
		{ "broken chain is not looked for outside", "[{{a.b.n}}]",
		  "{\"a\":{\"b\":{}},\"b\":{\"n\":1}}", "[]", NULL },
		{ "first part resolves as any name", "{{#a}}{{b.c}}{{/a}}",
		  "{\"a\":{\"b\":{\"c\":1}},\"b\":{\"c\":2}}", "1", NULL },
		{ "nearest first part wins, even without the rest", "[{{#a}}{{b.c}}{{/a}}]",
		  "{\"a\":{\"b\":{}},\"b\":{\"c\":2}}", "[]", NULL },
		{ "section", "{{#a.b}}yes{{/a.b}}", "{\"a\":{\"b\":true}}", "yes", NULL },
		{ "section, broken chain", "[{{#a.b.c}}yes{{/a.b.c}}]", "{\"a\":{}}", "[]", NULL },
		{ "inverted", "{{^a.b}}no{{/a.b}}", "{\"a\":{\"b\":false}}", "no", NULL },
		{ "inverted, broken chain", "{{^a.b.c}}no{{/a.b.c}}", "{\"a\":{}}", "no", NULL },
		{ "through text there is nothing", "[{{a.length}}]", "{\"a\":\"text\"}", "[]", NULL },
	};

	(void)state;
	CHECK_ALL(list);
}

static void sections_are_for_what_is_true(void **state)
{
	static const struct example list[] = {
		{ "true", "{{#a}}x{{/a}}", "{\"a\":true}", "x", NULL },
		{ "false", "[{{#a}}x{{/a}}]", "{\"a\":false}", "[]", NULL },
		{ "null", "[{{#a}}x{{/a}}]", "{\"a\":null}", "[]", NULL },
		{ "absent", "[{{#a}}x{{/a}}]", "{}", "[]", NULL },
		{ "empty list", "[{{#a}}x{{/a}}]", "{\"a\":[]}", "[]", NULL },
		{ "ours: empty text is false", "[{{#a}}x{{/a}}{{^a}}y{{/a}}]", "{\"a\":\"\"}", "[y]", NULL },
		{ "ours: zero is true", "{{#a}}{{.}}{{/a}}{{^a}}none{{/a}}", "{\"a\":0}", "0", NULL },
		{ "object is the context", "{{#a}}{{b}}{{/a}}", "{\"a\":{\"b\":1}}", "1", NULL },
		{ "outer names are seen", "{{#in}}{{a}},{{b}},{{c.d}}{{/in}}",
		  "{\"a\":1,\"b\":2,\"in\":{\"b\":3},\"c\":{\"d\":4}}", "1,3,4", NULL },
		{ "value is on top", "{{#a}}{{.}} is {{a}}{{/a}}", "{\"a\":\"v\"}", "v is v", NULL },
		{ "list", "{{#a}}{{n}};{{/a}}", "{\"a\":[{\"n\":1},{\"n\":2},{\"n\":3}]}", "1;2;3;", NULL },
		{ "lists in lists", "{{#a}}{{x}}{{#b}}{{x}}{{y}}{{#c}}{{x}}{{y}}{{z}} {{/c}}{{/b}}{{/a}}",
		  "{\"a\":[{\"x\":1,\"b\":[{\"y\":2,\"c\":[{\"z\":3},{\"z\":4}]}]}]}", "112123 124 ", NULL },
		{ "doubled", "{{#a}}1{{/a}} {{b}} {{#a}}2{{/a}}", "{\"a\":true,\"b\":\"-\"}", "1 - 2", NULL },
		{ "nested, same name, true", "|{{#a}}1{{#a}}2{{/a}}3{{/a}}|", "{\"a\":true}", "|123|", NULL },
		{ "nested, same name, false", "|{{#a}}1{{#a}}2{{/a}}3{{/a}}|", "{\"a\":false}", "||", NULL },
		{ "iterator: text, escaped", "{{#a}}({{.}}){{/a}}", "{\"a\":[\"x\",\"<\",\"&\"]}",
		  "(x)(&lt;)(&amp;)", NULL },
		{ "iterator: raw", "{{#a}}({{{.}}}{{&.}}){{/a}}", "{\"a\":[\"<\"]}", "(<<)", NULL },
		{ "iterator: numbers", "{{#a}}{{.}},{{/a}}", "{\"a\":[1,2.50,0]}", "1,2.50,0,", NULL },
		{ "iterator: null in a list", "{{#a}}({{.}}{{^.}}-{{/.}}){{/a}}", "{\"a\":[1,null]}",
		  "(1)(-)", NULL },
		{ "iterator: lists", "{{#a}}[{{#.}}{{.}}{{/.}}]{{/a}}", "{\"a\":[[1,2],[\"x\"]]}", "[12][x]",
		  NULL },
		{ "padding", "|{{# a }}={{/ a }}|", "{\"a\":true}", "|=|", NULL },
	};

	(void)state;
	CHECK_ALL(list);
}

static void inverted_sections_are_for_what_is_false(void **state)
{
	static const struct example list[] = {
		{ "false", "{{^a}}x{{/a}}", "{\"a\":false}", "x", NULL },
		{ "true", "[{{^a}}x{{/a}}]", "{\"a\":true}", "[]", NULL },
		{ "null", "{{^a}}x{{/a}}", "{\"a\":null}", "x", NULL },
		{ "absent", "{{^a}}x{{/a}}", "{}", "x", NULL },
		{ "object", "[{{^a}}x{{/a}}]", "{\"a\":{}}", "[]", NULL },
		{ "list", "[{{^a}}x{{/a}}]", "{\"a\":[0]}", "[]", NULL },
		{ "empty list", "{{^a}}x{{/a}}", "{\"a\":[]}", "x", NULL },
		{ "nested", "|{{^a}}1{{^a}}2{{/a}}3{{/a}}|", "{}", "|123|", NULL },
		{ "lines", "1\n  {{^a}}\n2\n  {{/a}}\n3\n", "{}", "1\n2\n3\n", NULL },
		{ "padding", "|{{^ a }}={{/ a }}|", "{}", "|=|", NULL },
	};

	(void)state;
	CHECK_ALL(list);
}

static void a_tag_alone_on_its_line_takes_the_line(void **state)
{
	static const struct example list[] = {
		{ "section", "1\n{{#a}}\n2\n{{/a}}\n3\n", "{\"a\":true}", "1\n2\n3\n", NULL },
		{ "indented", "1\n  {{#a}}\n2\n\t{{/a}}  \n3\n", "{\"a\":true}", "1\n2\n3\n", NULL },
		{ "carriage returns", "1\r\n{{#a}}\r\n{{/a}}\r\n2", "{\"a\":true}", "1\r\n2", NULL },
		{ "first line", "  {{#a}}\n1{{/a}}\n2", "{\"a\":true}", "1\n2", NULL },
		{ "last line", "1{{#a}}\n2\n  {{/a}}", "{\"a\":true}", "1\n2\n", NULL },
		{ "not with something beside it", " {{#a}}x{{/a}}\n {{#a}}y{{/a}}\n", "{\"a\":true}",
		  " x\n y\n", NULL },
		{ "not within", " | {{#a}} {{! c }}\n {{/a}} | \n", "{\"a\":true}", " |  \n  | \n", NULL },
		{ "never a value", "  {{v}}\n  {{{v}}}\n", "{\"v\":1}", "  1\n  1\n", NULL },
		{ "comment", "1\n  {{! c }}\n2\n", "{}", "1\n2\n", NULL },
		{ "comment of many lines", "1\n{{!\nc\n}}\n2\n", "{}", "1\n2\n", NULL },
		{ "comment, first and last", "  {{! c }}\n1\n  {{! c }}", "{}", "1\n", NULL },
		{ "comment within", "1 {{! c }} 2{{!\n}}3", "{}", "1  23", NULL },
		{ "comment at the end of a line", "  1 {{! c }}\n", "{}", "  1 \n", NULL },
	};

	(void)state;
	CHECK_ALL(list);
}

static void partials_are_taken_in(void **state)
{
	static const struct example list[] = {
		{ "text", "[{{>p}}]", "{}", "[part]", "{\"p\":\"part\"}" },
		{ "absent", "[{{>p}}]", "{}", "[]", NULL },
		{ "sees the context", "{{#a}}{{>p}}{{/a}}", "{\"a\":{\"b\":1}}", "*1*",
		  "{\"p\":\"*{{b}}*\"}" },
		{ "calls itself", "{{>p}}", "{\"v\":1,\"in\":[{\"v\":2,\"in\":[]}]}", "1<2<>>",
		  "{\"p\":\"{{v}}<{{#in}}{{>p}}{{/in}}>\"}" },
		{ "whitespace around stays", "| {{>p}} |", "{}", "| \t|\t |", "{\"p\":\"\\t|\\t\"}" },
		{ "no indentation within a line", "  {{a}}  {{>p}}\n", "{\"a\":1}", "  1  >\n>\n",
		  "{\"p\":\">\\n>\"}" },
		{ "alone: carriage return", "|\r\n{{>p}}\r\n|", "{}", "|\r\n>|", "{\"p\":\">\"}" },
		{ "alone: first line", "  {{>p}}\n>", "{}", "  >\n  >>", "{\"p\":\">\\n>\"}" },
		{ "alone: last line", ">\n  {{>p}}", "{}", ">\n  >\n  >", "{\"p\":\">\\n>\"}" },
		{ "indents its own lines, not those of a value", "1\n {{>p}}\n2\n", "{\"v\":\"a\\nb\"}",
		  "1\n |\n a\nb\n |\n2\n", "{\"p\":\"|\\n{{{v}}}\\n|\\n\"}" },
		{ "the same, indented and not", "{{>p}}\n  {{>p}}\n", "{}", "x\n  x\n", "{\"p\":\"x\\n\"}" },
		{ "padding", "|{{> p }}|", "{}", "|x|", "{\"p\":\"x\"}" },
	};

	(void)state;
	CHECK_ALL(list);
}

/* ---- ours ---- */

static void the_output_of_a_formatter_is_escaped(void **state)
{
	static const struct example list[] = {
		{ "value", "{{#f.angles}}{{v}}{{/f.angles}}", "{\"v\":\"a&b\"}", "&lt;a&amp;b&gt;", NULL },
		{ "in one another", "{{#f.angles}}{{#f.angles}}x{{/f.angles}}{{/f.angles}}", "{}",
		  "&lt;&lt;x&gt;&gt;", NULL },
		{ "raw inside is escaped too", "{{#f.angles}}{{{v}}}{{/f.angles}}", "{\"v\":\"<\"}",
		  "&lt;&lt;&gt;", NULL },
		{ "escaping comes back behind it", "{{#f.angles}}{{/f.angles}}{{v}}", "{\"v\":\"<\"}",
		  "&lt;&gt;&lt;", NULL },
		{ "data can't take its name", "{{#f.angles}}x{{/f.angles}}", "{\"f\":{\"angles\":false}}",
		  "&lt;x&gt;", NULL },
	};

	(void)state;
	CHECK_ALL(list);
}

static void control_characters_become_visible(void **state)
{
	static const struct example list[] = {
		{ "escape, bell, delete", "{{v}}", "{\"v\":\"\\u001b[31m\\u0007\\u007f\"}",
		  "\u241b[31m\u2407\u2421", NULL },
		{ "tab and newline stay", "{{v}}", "{\"v\":\"a\\tb\\nc\"}", "a\tb\nc", NULL },
		{ "a second set of controls", "{{v}}", "{\"v\":\"a\\u0085b\\u009f\"}", "a⟨U+0085⟩b⟨U+009F⟩",
		  NULL },
	};

	(void)state;
	CHECK_ALL(list);
}

static void characters_that_turn_or_hide_text_become_visible(void **state)
{
	static const struct example list[] = {
		{ "right to left override", "{{v}}", "{\"v\":\"a\\u202eb\\u202cc\"}", "a⟨U+202E⟩b⟨U+202C⟩c",
		  NULL },
		{ "embeddings", "{{v}}", "{\"v\":\"\\u202a\\u202b\\u202d\"}", "⟨U+202A⟩⟨U+202B⟩⟨U+202D⟩",
		  NULL },
		{ "isolates", "{{v}}", "{\"v\":\"\\u2066\\u2067\\u2068\\u2069\"}",
		  "⟨U+2066⟩⟨U+2067⟩⟨U+2068⟩⟨U+2069⟩", NULL },
		{ "marks", "{{v}}", "{\"v\":\"\\u200e\\u200f\\u061c\"}", "⟨U+200E⟩⟨U+200F⟩⟨U+061C⟩", NULL },
		{ "no width", "{{v}}", "{\"v\":\"a\\u200bb\\u2060\\ufeff\\u00ad\"}",
		  "a⟨U+200B⟩b⟨U+2060⟩⟨U+FEFF⟩⟨U+00AD⟩", NULL },
		{ "line separators", "{{v}}", "{\"v\":\"\\u2028\\u2029\"}", "⟨U+2028⟩⟨U+2029⟩", NULL },
		{ "tags", "{{v}}", "{\"v\":\"\\udb40\\udc41\"}", "⟨U+E0041⟩", NULL },
		{ "a joiner in a name", "{{v}}", "{\"v\":\"sh\\u200dop\\u200c\"}", "sh⟨U+200D⟩op⟨U+200C⟩",
		  NULL },
		{ "a joiner where it belongs", "{{v}}", "{\"v\":\"\\u0645\\u06cc\\u200c\\u062e\"}",
		  "\u0645\u06cc\u200c\u062e", NULL },
		{ "emoji", "{{v}}", "{\"v\":\"\\u2764\\ufe0f 1\\ufe0f\\u20e3\"}",
		  "\u2764\ufe0f 1\ufe0f\u20e3", NULL },
		{ "scripts from right to left", "{{v}}", "{\"v\":\"\\u05d0 \\u0627\"}", "\u05d0 \u0627",
		  NULL },
		{ "in a formatter, too", "{{#f.angles}}{{v}}{{/f.angles}}", "{\"v\":\"\\u202e\"}",
		  "&lt;⟨U+202E⟩&gt;", NULL },
	};

	(void)state;
	CHECK_ALL(list);
}

static void data_is_never_a_template(void **state)
{
	static const struct example list[] = {
		{ "tags in a value", "{{v}} {{{v}}}", "{\"v\":\"{{x}}{{#x}}\",\"x\":1}",
		  "{{x}}{{#x}} {{x}}{{#x}}", NULL },
		{ "an object as a value", "{{v}}", "{\"v\":{\"a\":\"<b>\"}}",
		  "{ &quot;a&quot;: &quot;&lt;b&gt;&quot; }", NULL },
	};

	(void)state;
	CHECK_ALL(list);
}

static void broken_templates_are_errors_and_leave_the_output_alone(void **state)
{
	static const struct { const char *template, *says; } list[] = {
		{ "x {{#a}} y", "not closed" },
		{ "1\n2 {{/a}}", "line 2: a section is closed that is not open" },
		{ "{{#a}}{{#b}}{{/a}}{{/b}}", "by another name" },
		{ "{{a", "a tag is not closed" },
		{ "{{{a}}", "a tag is not closed" },
		{ "{{}}", "no name" },
		{ "{{=<% %>=}}", "delimiters of tags cannot be set" },
		{ "{{#f.none}}{{/f.none}}", "no such formatter" },
		{ "{{^f.angles}}{{/f.angles}}", "only be a section" },
		{ "ok {{>loop}}", "deep" },
	};

	(void)state;
	partials = json_tokener_parse("{\"loop\":\"{{>loop}}\"}");
	for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
		struct buf out = BUF(1024);
		struct err e = { 0 };

		assert_true(buf_adds(&out, "before"));
		if (render(list[i].template, "{}", &out, &e) == 0 || !strstr(e.msg, list[i].says))
			fail_msg("%s: says \"%s\", not \"%s\"", list[i].template, e.msg, list[i].says);
		assert_int_equal(out.len, 6);
		buf_free(&out);
	}
	json_object_put(partials);
	partials = NULL;
}

static void a_page_has_no_way_around_escaping(void **state)
{
	static const char *const raw[] = { "{{{v}}}", "{{&v}}", "{{>p}}", "{{#v}}{{{.}}}{{/v}}" };
	struct template_env page = env;

	(void)state;
	page.raw = false;
	partials = json_tokener_parse("{\"p\":\"{{{v}}}\"}");
	for (size_t i = 0; i < sizeof raw / sizeof raw[0]; i++) {
		struct json_object *data = json_tokener_parse("{\"v\":\"<b>\"}");
		struct buf out = BUF(100);
		struct err e;

		assert_true(template_render(text_of(raw[i]), data, &page, &out, &e) < 0);
		assert_non_null(strstr(e.msg, "without escaping"));
		json_object_put(data);
		buf_free(&out);
	}
	json_object_put(partials);
	partials = NULL;
}

static void sections_nest_to_a_limit(void **state)
{
	struct buf template = BUF(1 << 16), out = BUF(1024);
	struct err e = { 0 };

	(void)state;
	for (int i = 0; i < TEMPLATE_DEPTH_MAX + 1; i++)
		assert_true(buf_adds(&template, "{{#a}}"));
	for (int i = 0; i < TEMPLATE_DEPTH_MAX + 1; i++)
		assert_true(buf_adds(&template, "{{/a}}"));
	assert_true(render(buf_cstr(&template), "{\"a\":true}", &out, &e) < 0);
	assert_non_null(strstr(e.msg, "too deeply"));
	buf_free(&template);
	buf_free(&out);
}

static void sections_repeat_to_a_limit(void **state)
{
	const struct template_env bounded = { .raw = true, .sections_max = 1000 };
	struct json_object *data = json_tokener_parse("{\"a\": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}");
	struct buf out = BUF(1024);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(template_render(TEXT("{{#a}}{{#a}}{{/a}}{{/a}}x"), data, &bounded, &out, &e), 0);
	assert_int_equal(out.len, 1);
	assert_true(template_render(TEXT("{{#a}}{{#a}}{{#a}}{{#a}}{{/a}}{{/a}}{{/a}}{{/a}}"), data, &bounded,
				    &out, &e) < 0);
	assert_non_null(strstr(e.msg, "more than 1000 times"));
	json_object_put(data);
	buf_free(&out);
}

static void a_page_ends_at_its_limit(void **state)
{
	struct json_object *data = json_object_new_object(), *list = json_object_new_array();
	struct buf out = BUF(5000);
	struct err e = { 0 };

	(void)state;
	for (int i = 0; i < 1000; i++)
		json_object_array_add(list, json_object_new_string("<<<<<<<<<<"));
	json_object_object_add(data, "a", list);
	assert_true(render_json("{{#a}}{{.}}{{/a}}", data, &out, &e) < 0);
	assert_int_equal(e.code, EFBIG);
	assert_int_equal(out.len, 0);
	json_object_put(data);
	buf_free(&out);
}

/* ---- the hub's own pages ---- */

static void each_page(void (*look)(const char *path, const char *text))
{
	glob_t pages;

	assert_int_equal(glob("fleet_hub/*/*.html", 0, NULL, &pages), 0);
	assert_true(pages.gl_pathc > 5);
	for (size_t i = 0; i < pages.gl_pathc; i++) {
		FILE *f = fopen(pages.gl_pathv[i], "re");
		char *text = calloc(1, TEMPLATE_TEXT_MAX);

		assert_non_null(f);
		assert_non_null(text);
		assert_true(fread(text, 1, TEMPLATE_TEXT_MAX - 1, f) > 0);
		look(pages.gl_pathv[i], text);
		free(text);
		fclose(f);
	}
	globfree(&pages);
}

static void has_nothing_raw_or_inline(const char *path, const char *text)
{
	static const char *const banned[] = { "{{{",      "{{&",     " style=",    "<style",
					      " onclick", " onload", "javascript:" };

	for (size_t i = 0; i < sizeof banned / sizeof banned[0]; i++)
		if (strstr(text, banned[i]))
			fail_msg("%s has %s", path, banned[i]);
	for (const char *s = strstr(text, "<script"); s; s = strstr(s + 1, "<script"))
		if (strncmp(s, "<script type=\"module\" src=\"", 27) != 0)
			fail_msg("%s has a script of its own", path);
}

static void our_pages_have_no_raw_value_and_nothing_inline(void **state)
{
	(void)state;
	each_page(has_nothing_raw_or_inline);
}

/* A value belongs into text or into quotes: elsewhere escaping would not protect. */
static void has_values_only_in_quotes(const char *path, const char *text)
{
	bool in_tag = false, in_quotes = false;

	for (const char *s = text; *s; s++) {
		if (s[0] == '{' && s[1] == '{') {
			bool value = !strchr("#^/>!", s[2]);

			if (value && in_tag && !in_quotes)
				fail_msg("%s: a value outside quotes: %.40s", path, s);
			s = strstr(s, "}}") + 1;
		} else if (!in_quotes && (*s == '<' || *s == '>')) {
			in_tag = *s == '<';
		} else if (in_tag && *s == '"') {
			in_quotes = !in_quotes;
		}
	}
}

static void our_pages_have_values_in_text_and_quotes_only(void **state)
{
	(void)state;
	each_page(has_values_only_in_quotes);
}

/* ---- the specification's own files, where they are at hand ---- */

static const char *string_in(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : NULL;
}

static void run_spec_file(const char *path)
{
	struct json_object *file = json_object_from_file(path), *tests = NULL;

	assert_true(json_object_object_get_ex(file, "tests", &tests));
	for (size_t i = 0; i < json_object_array_length(tests); i++) {
		struct json_object *t = json_object_array_get_idx(tests, i);
		struct example c = { string_in(t, "name"), string_in(t, "template"), string_in(t, "data"),
				     string_in(t, "expected"), string_in(t, "partials") };

		check(&c);
	}
	json_object_put(file);
}

static void the_specification_s_own_examples_hold(void **state)
{
	static const char *const modules[] = { "comments", "interpolation", "inverted", "partials",
					       "sections" };
	const char *dir = getenv("OBSERV_MUSTACHE_SPEC");
	char path[4096];

	(void)state;
	for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
		snprintf(path, sizeof path, "%s/%s.json", dir, modules[i]);
		run_spec_file(path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_interpolated_and_escaped),
		cmocka_unit_test(dotted_names_go_inside),
		cmocka_unit_test(sections_are_for_what_is_true),
		cmocka_unit_test(inverted_sections_are_for_what_is_false),
		cmocka_unit_test(a_tag_alone_on_its_line_takes_the_line),
		cmocka_unit_test(partials_are_taken_in),
		cmocka_unit_test(the_output_of_a_formatter_is_escaped),
		cmocka_unit_test(control_characters_become_visible),
		cmocka_unit_test(characters_that_turn_or_hide_text_become_visible),
		cmocka_unit_test(data_is_never_a_template),
		cmocka_unit_test(broken_templates_are_errors_and_leave_the_output_alone),
		cmocka_unit_test(a_page_has_no_way_around_escaping),
		cmocka_unit_test(sections_nest_to_a_limit),
		cmocka_unit_test(sections_repeat_to_a_limit),
		cmocka_unit_test(a_page_ends_at_its_limit),
		cmocka_unit_test(our_pages_have_no_raw_value_and_nothing_inline),
		cmocka_unit_test(our_pages_have_values_in_text_and_quotes_only),
	};
	const struct CMUnitTest specification[] = { cmocka_unit_test(the_specification_s_own_examples_hold) };
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	if (getenv("OBSERV_MUSTACHE_SPEC"))
		failed += cmocka_run_group_tests(specification, NULL, NULL);
	return failed;
}
