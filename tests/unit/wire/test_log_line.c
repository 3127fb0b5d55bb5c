/* A line of a log file with any bytes becomes one row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "wire/log/log_line.c"
#include "common/clock.h"

static const int64_t NOW = INT64_C(1795228754000000);   /* 2026-11-21T02:39:14Z */

struct row {
	const char *line;
	int64_t us;             /* microseconds after NOW; the arrival time is NOW itself */
	enum log_level level;
	const char *logger;     /* NULL: absent */
	const char *message;
	const char *context;    /* NULL: absent */
};

static void expect_text(struct text got, const char *want)
{
	if (!want) {
		if (got.s)
			fail_msg("got \"%.*s\", want nothing", (int)got.len, got.s);
		return;
	}
	assert_non_null(got.s);
	if (got.len != strlen(want) || memcmp(got.s, want, got.len) != 0)
		fail_msg("got \"%.*s\", want \"%s\"", (int)got.len, got.s, want);
}

static void expect(struct text line, const struct row *want)
{
	struct line_parser p;
	struct sample s;

	line_parser_init(&p);
	line_parse(&p, line, NOW, NULL, &s);
	if (s.timestamp_us - NOW != want->us || s.log.level != want->level)
		fail_msg("%.*s: time %+lld, level %d", (int)line.len, line.s,
			 (long long)(s.timestamp_us - NOW), s.log.level);
	expect_text(s.log.logger, want->logger);
	expect_text(s.log.message, want->message);
	expect_text(s.log.context, want->context);
	line_parser_free(&p);
}

static void expect_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect(text_of(rows[i].line), &rows[i]);
}
#define ROWS(r) expect_rows(r, sizeof r / sizeof *r)

static void a_line_of_logcore_is_taken_apart(void **state)
{
	static const struct row rows[] = {
		{ "{\"timestamp\":\"2026-11-21T02:39:13.5Z\",\"level\":\"ERROR\",\"logger\":\"pay\","
		  "\"message\":\"no\","
		  "\"context\":{\"order\":7,\"ok\":false}}",
		  -500000, LEVEL_ERROR, "pay", "no", "{\"order\":7,\"ok\":false}" },
		{ " { \"message\" : \"spaces\" , \"level\" : \"info\" } ", 0, LEVEL_INFO, NULL, "spaces",
		  NULL },
		{ "{\"message\":\"a\\\"b\\n\\u00e9\\ud83d\\ude00\"}", 0, LEVEL_INFO, NULL,
		  "a\"b\n\xc3\xa9\xf0\x9f\x98\x80", NULL },
		{ "{\"message\":\"cr\"}\r", 0, LEVEL_INFO, NULL, "cr", NULL },
		{ "\xef\xbb\xbf{\"message\":\"bom\"}", 0, LEVEL_INFO, NULL, "bom", NULL },
		{ "{\"\\u006dess\\u0061ge\":\"escaped\",\"\\u0078\":1}", 0, LEVEL_INFO, NULL, "escaped",
		  "{\"\\u0078\":1}" },
	};

	(void)state;
	ROWS(rows);
}

static void the_dialects_of_other_loggers_are_read(void **state)
{
	static const struct row rows[] = {
		/* pino, bunyan */
		{ "{\"level\":50,\"time\":1795228753000,\"pid\":3,\"hostname\":\"h\",\"name\":\"api\","
		  "\"msg\":\"x\"}",
		  -1000000, LEVEL_ERROR, "api", "x", "{\"pid\":3,\"hostname\":\"h\"}" },
		/* zap, zerolog */
		{ "{\"level\":\"warn\",\"ts\":1795228753.25,\"msg\":\"x\",\"caller\":\"a.go:1\"}", -750000,
		  LEVEL_WARNING, NULL, "x", "{\"caller\":\"a.go:1\"}" },
		/* microseconds, nanoseconds; a number in a string */
		{ "{\"ts\":1795228753000000,\"msg\":\"us\"}", -1000000, LEVEL_INFO, NULL, "us", NULL },
		{ "{\"ts\":\"1795228753\",\"msg\":\"s\"}", -1000000, LEVEL_INFO, NULL, "s", NULL },
		/* logstash, GELF */
		{ "{\"@timestamp\":\"2026-11-21T03:39:13+01:00\",\"severity\":\"FATAL\",\"message\":\"x\"}",
		  -1000000, LEVEL_CRITICAL, NULL, "x", NULL },
		{ "{\"level\":3,\"message\":\"syslog\"}", 0, LEVEL_ERROR, NULL, "syslog", NULL },
		{ "{\"levelname\":\"CRITICAL\",\"message\":\"py\",\"trace_id\":\"ab\"}", 0, LEVEL_CRITICAL,
		  NULL, "py", "{\"trace_id\":\"ab\"}" },
	};

	(void)state;
	ROWS(rows);
}

static void nothing_of_a_line_is_lost(void **state)
{
	static const struct row rows[] = {
		/* unknown level, impossible time, alias beside the proper name */
		{ "{\"level\":\"odd\",\"message\":\"x\"}", 0, LEVEL_INFO, NULL, "x", "{\"level\":\"odd\"}" },
		{ "{\"timestamp\":\"2026-13-45\",\"message\":\"x\"}", 0, LEVEL_INFO, NULL, "x",
		  "{\"timestamp\":\"2026-13-45\"}" },
		{ "{\"timestamp\":\"1999-12-31T23:59:59Z\",\"message\":\"old\"}", 0, LEVEL_INFO, NULL, "old",
		  "{\"timestamp\":\"1999-12-31T23:59:59Z\"}" },
		{ "{\"timestamp\":\"2026-11-23T00:00:00Z\",\"message\":\"future\"}", 0, LEVEL_INFO, NULL,
		  "future", "{\"timestamp\":\"2026-11-23T00:00:00Z\"}" },
		{ "{\"name\":\"bob\",\"logger\":\"app\",\"message\":\"x\"}", 0, LEVEL_INFO, "app", "x",
		  "{\"name\":\"bob\"}" },
		{ "{\"logger\":\"app\",\"name\":\"bob\",\"message\":\"x\"}", 0, LEVEL_INFO, "app", "x",
		  "{\"name\":\"bob\"}" },
		{ "{\"name\":5,\"message\":\"x\"}", 0, LEVEL_INFO, NULL, "x", "{\"name\":5}" },
		/* a second name of one thing, where logcore's would stand */
		{ "{\"levelName\":\"odd\",\"level\":\"WARN\",\"message\":\"x\"}", 0, LEVEL_WARNING, NULL, "x",
		  "{\"levelName\":\"odd\"}" },
		{ "{\"time\":7,\"level\":\"a\",\"level\":\"b\",\"message\":\"x\"}", 0, LEVEL_INFO, NULL, "x",
		  "{\"level_2\":\"a\",\"time\":7,\"level\":\"b\"}" },
		/* letters of a zone mean different zones to different machines */
		{ "{\"time\":\"2026-11-21 08:09:13 IST\",\"msg\":\"x\"}", -1000000, LEVEL_INFO, NULL, "x",
		  "{\"time\":\"2026-11-21 08:09:13 IST\"}" },
		{ "{\"time\":\"2026-11-21 02:39:13 UTC\",\"msg\":\"x\"}", -1000000, LEVEL_INFO, NULL, "x",
		  NULL },
		/* keys beside the context, a context that is no object */
		{ "{\"message\":\"x\",\"context\":{ \"a\":1},\"b\":[2,{}]}", 0, LEVEL_INFO, NULL, "x",
		  "{\"b\":[2,{}],\"a\":1}" },
		{ "{\"message\":\"x\",\"context\":{},\"b\":2}", 0, LEVEL_INFO, NULL, "x", "{\"b\":2}" },
		{ "{\"message\":\"x\",\"context\":\"text\"}", 0, LEVEL_INFO, NULL, "x",
		  "{\"context\":\"text\"}" },
		{ "{\"message\":\"x\",\"context\":true,\"logger\":null}", 0, LEVEL_INFO, NULL, "x",
		  "{\"context\":true}" },
		/* without any text the line is the message */
		{ "{}", 0, LEVEL_INFO, NULL, "{}", NULL },
		{ "{\"a\":1}", 0, LEVEL_INFO, NULL, "{\"a\":1}", "{\"a\":1}" },
		{ "{\"message\":\"x\",\"context\":null}", 0, LEVEL_INFO, NULL, "x", "{\"context\":null}" },
		{ "{\"message\":{\"a\":1}}", 0, LEVEL_INFO, NULL, "{\"a\":1}", NULL },
		{ "{\"message\":{\"a\":1,\"a\":2}}", 0, LEVEL_INFO, NULL, "{\"a\":1,\"a\":2}", NULL },
	};

	(void)state;
	ROWS(rows);
}

#define CONTEXT(line, context) { line, 0, LEVEL_INFO, NULL, "m", context }

/* jsonb keeps one of equal keys. The last one keeps its name, as there, and the others get another. */
static void of_equal_keys_all_values_are_kept(void **state)
{
	static const struct row rows[] = {
		/* at the top and in the context: the context's keeps its name, at whatever side it stands */
		CONTEXT("{\"message\":\"m\",\"context\":{\"id\":1},\"id\":2}", "{\"id_2\":2,\"id\":1}"),
		CONTEXT("{\"id\":2,\"context\":{\"id\":1},\"message\":\"m\"}", "{\"id_2\":2,\"id\":1}"),
		/* in the context, at the top, deep below either, in different objects of one array */
		CONTEXT("{\"message\":\"m\",\"context\":{\"a\":1,\"a\":2,\"a\":3}}",
			"{\"a_2\":1,\"a_3\":2,\"a\":3}"),
		CONTEXT("{\"message\":\"m\",\"a\":1,\"a\":2}", "{\"a_2\":1,\"a\":2}"),
		CONTEXT("{\"message\":\"m\",\"context\":{\"b\":[{\"a\":1},{\"a\":{\"c\":2,\"c\":3}}]}}",
			"{\"b\":[{\"a\":1},{\"a\":{\"c_2\":2,\"c\":3}}]}"),
		CONTEXT("{\"message\":\"m\",\"x\":{\"b\":[[{\"a\":1,\"a\":2}]]}}",
			"{\"x\":{\"b\":[[{\"a_2\":1,\"a\":2}]]}}"),
		CONTEXT("{\"message\":\"m\",\"context\":{\"a\":{\"a\":1},\"b\":{\"a\":2}},\"x\":[{\"a\":3}]}",
			"{\"x\":[{\"a\":3}],\"a\":{\"a\":1},\"b\":{\"a\":2}}"),
		/* existing names are skipped */
		CONTEXT("{\"message\":\"m\",\"context\":{\"a_2\":0,\"a\":1,\"a\":2,\"a_3\":4},\"a\":5}",
			"{\"a_4\":5,\"a_2\":0,\"a_5\":1,\"a\":2,\"a_3\":4}"),
		CONTEXT("{\"message\":\"m\",\"context\":{\"a\":1,\"a\":2,\"a_2\":3,\"a_2\":4}}",
			"{\"a_3\":1,\"a\":2,\"a_2_2\":3,\"a_2\":4}"),
		/* the same key in another notation; an empty key */
		CONTEXT("{\"message\":\"m\",\"context\":{\"a\":1,\"\\u0061\":2}}",
			"{\"a_2\":1,\"\\u0061\":2}"),
		CONTEXT("{\"message\":\"m\",\"\\u0061\":2,\"context\":{\"a\":1}}",
			"{\"\\u0061_2\":2,\"a\":1}"),
		CONTEXT("{\"message\":\"m\",\"context\":{\"\\/\":1,\"/\":2}}", "{\"\\/_2\":1,\"/\":2}"),
		CONTEXT("{\"message\":\"m\",\"\":1,\"context\":{\"\":2,\"\" :3}}",
			"{\"_2\":1,\"_3\":2,\"\" :3}"),
		/* the same key after unstorable characters were replaced */
		CONTEXT("{\"message\":\"m\",\"context\":{\"a\xff\":1,\"a\xfe\":2}}",
			"{\"a\xef\xbf\xbd_2\":1,\"a\xef\xbf\xbd\":2}"),
		CONTEXT("{\"message\":\"m\",\"context\":{\"\\ud800\":1,\"\\u0000\":2},\"\xef\xbf\xbd\":3}",
			"{\"\xef\xbf\xbd_2\":3,\"\\ufffd_3\":1,\"\\ufffd\":2}"),
		/* several names of one thing; what gives way meets a key of the context */
		CONTEXT("{\"msg\":\"1\",\"message\":\"2\",\"message\":\"m\"}",
			"{\"msg\":\"1\",\"message\":\"2\"}"),
		CONTEXT("{\"message\":\"1\",\"message\":\"2\",\"message\":\"m\",\"context\":{\"message\":3}}",
			"{\"message_2\":\"1\",\"message_3\":\"2\",\"message\":3}"),
		CONTEXT("{\"message\":\"m\",\"level\":\"x\",\"severity\":\"y\",\"context\":{\"level\":1}}",
			"{\"level_2\":\"x\",\"severity\":\"y\",\"level\":1}"),
		CONTEXT("{\"message\":\"m\",\"ts\":\"never\",\"time\":7,\"context\":{\"ts\":1}}",
			"{\"time\":7,\"ts_2\":\"never\",\"ts\":1}"),
		CONTEXT("{\"message\":\"m\",\"context\":{\"context\":1},\"context\":[2],\"context\":\"3\"}",
			"{\"context_2\":{\"context\":1},\"context_3\":[2],\"context\":\"3\"}"),
		CONTEXT("{\"message\":\"m\",\"context\":null,\"context\":{\"context\":{}}}",
			"{\"context_2\":null,\"context\":{}}"),
	};

	(void)state;
	ROWS(rows);
}

/* The most equal keys that a line may have, beside as many existing names. */
static void many_equal_keys_are_told_apart(void **state)
{
	struct buf line = BUF(1 << 20);
	struct json_object *context;
	struct line_parser p;
	struct sample s;

	(void)state;
	buf_adds(&line, "{\"message\":\"m\",\"context\":{\"a\":0");
	for (int i = 1; i < OBJECT_KEYS_MAX - 2; i++)
		buf_addf(&line, i % 2 ? ",\"a\":%d" : ",\"a_%d\":%d", i, i);
	buf_adds(&line, "}}");
	line_parser_init(&p);
	line_parse(&p, (struct text){ line.data, line.len }, NOW, NULL, &s);
	context = json_tokener_parse(strndupa(s.log.context.s, s.log.context.len));
	assert_int_equal(json_object_object_length(context), OBJECT_KEYS_MAX - 2);
	json_object_put(context);
	line_parser_free(&p);
	buf_free(&line);
}

static void a_line_that_is_no_object_is_kept_as_text(void **state)
{
	static const struct row rows[] = {
		{ "plain words", 0, LEVEL_INFO, NULL, "plain words", NULL },
		{ "[1,2]", 0, LEVEL_INFO, NULL, "[1,2]", NULL },
		{ "\"string\"", 0, LEVEL_INFO, NULL, "\"string\"", NULL },
		{ "{\"message\":\"cut", 0, LEVEL_INFO, NULL, "{\"message\":\"cut", NULL },
		{ "{\"a\":01}", 0, LEVEL_INFO, NULL, "{\"a\":01}", NULL },
		{ "{\"a\":1}{\"b\":2}", 0, LEVEL_INFO, NULL, "{\"a\":1}{\"b\":2}", NULL },
		{ "{'a':1}", 0, LEVEL_INFO, NULL, "{'a':1}", NULL },
		{ "1e999999 is not quoted here", 0, LEVEL_INFO, NULL, "1e999999 is not quoted here", NULL },
		{ "{\"a\xff\":1,1e999999 :2}", 0, LEVEL_INFO, NULL, "{\"a\xef\xbf\xbd\":1,1e999999 :2}",
		  NULL },
	};

	(void)state;
	ROWS(rows);
}

#define REPAIRED(line, message, context) { line, 0, LEVEL_INFO, NULL, message, context }

static void json_is_repaired_where_the_meaning_is_plain(void **state)
{
	static const struct row rows[] = {
		REPAIRED("{\"msg\":\"m\",\"a\":NaN}", "m",
			 "{\"a\":\"NaN\",\"_line\":\"{\\\"msg\\\":\\\"m\\\",\\\"a\\\":NaN}\"}"),
		REPAIRED("{\"msg\":\"m\",}", "m", "{\"_line\":\"{\\\"msg\\\":\\\"m\\\",}\"}"),
		REPAIRED("{\"msg\":\"C:\\dir\"}", "C:\\dir",
			 "{\"_line\":\"{\\\"msg\\\":\\\"C:\\\\dir\\\"}\"}"),
		REPAIRED("{\"msg\":\"\\x22q\\xC3\\xA9\"}", "\"q\xc3\xa9",
			 "{\"_line\":\"{\\\"msg\\\":\\\"\\\\x22q\\\\xC3\\\\xA9\\\"}\"}"),
		REPAIRED("{\"msg\":\"a\tb\"}", "a\tb", "{\"_line\":\"{\\\"msg\\\":\\\"a\\tb\\\"}\"}"),
	};

	(void)state;
	ROWS(rows);
}

static void the_prefix_of_text_becomes_columns(void **state)
{
	static const struct row rows[] = {
		{ "ERROR: no", 0, LEVEL_ERROR, NULL, "no", "{\"_prefix\":\"ERROR: \"}" },
		{ "[warn] x", 0, LEVEL_WARNING, NULL, "x", "{\"_prefix\":\"[warn] \"}" },
		{ "2026-11-21 02:39:14,123 DEBUG x", 123000, LEVEL_DEBUG, NULL, "x",
		  "{\"_prefix\":\"2026-11-21 02:39:14,123 DEBUG \"}" },
		{ "2026-11-21T02:39:14Z TRACE x", 0, LEVEL_TRACE, NULL, "x",
		  "{\"_prefix\":\"2026-11-21T02:39:14Z TRACE \"}" },
		{ "TRACE x", 0, LEVEL_TRACE, NULL, "x", "{\"_prefix\":\"TRACE \"}" },
		{ "Error handling is on", 0, LEVEL_INFO, NULL, "Error handling is on", NULL },
		{ "Alert settings loaded", 0, LEVEL_INFO, NULL, "Alert settings loaded", NULL },
		{ "Fine, thanks", 0, LEVEL_INFO, NULL, "Fine, thanks", NULL },
		{ "\033[31mERROR\033[0m red", 0, LEVEL_ERROR, NULL, "red",
		  "{\"_line\":\"\\u001b[31mERROR\\u001b[0m red\"}" },
		{ "an error in mid-sentence", 0, LEVEL_INFO, NULL, "an error in mid-sentence", NULL },
		{ "errors happen", 0, LEVEL_INFO, NULL, "errors happen", NULL },
		{ "", 0, LEVEL_INFO, NULL, "", NULL },
	};

	(void)state;
	ROWS(rows);
}

/* As winston's colorize() writes them, and tput's "sgr0". What was removed is in the context. */
static void colours_leave_each_column(void **state)
{
	static const struct row rows[] = {
		{ "{\"level\":\"\\u001b[31merror\\u001b[39m\",\"message\":\"a\"}", 0, LEVEL_ERROR, NULL, "a",
		  "{\"level\":\"\\u001b[31merror\\u001b[39m\"}" },
		{ "{\"level\":\"\\u0057ARN\",\"message\":\"no\"}", 0, LEVEL_WARNING, NULL, "no", NULL },
		{ "{\"logger\":\"\\u001b[36mapp\\u001b[0m\",\"message\":\"\\u001b[1mno\\u0007\\t.\\n\"}", 0,
		  LEVEL_INFO, "app", "no\t.\n",
		  "{\"logger\":\"\\u001b[36mapp\\u001b[0m\",\"message\":\"\\u001b[1mno\\u0007\\t.\\n\"}" },
		{ "{\"message\":\"\\u001b[0m\"}", 0, LEVEL_INFO, NULL, "{\"message\":\"\\u001b[0m\"}",
		  "{\"message\":\"\\u001b[0m\"}" },
		{ "\033[31mERROR\033(B\033[m no \033#8more\033(", 0, LEVEL_ERROR, NULL, "no more",
		  "{\"_line\":\"\\u001b[31mERROR\\u001b(B\\u001b[m no \\u001b#8more\\u001b(\"}" },
	};

	(void)state;
	ROWS(rows);
}

/* Lines are looked at in blocks. */
static void a_control_leaves_wherever_it_stands(void **state)
{
	struct line_parser p;
	struct sample s;
	char line[60];

	(void)state;
	line_parser_init(&p);
	for (size_t len = 1; len < sizeof line; len++)
		for (size_t at = 0; at < len; at++) {
			memset(line, 'x', len);
			line[at] = at % 2 ? '\x7f' : '\a';
			line_parse(&p, (struct text){ line, len }, 0, NULL, &s);
			assert_int_equal(s.log.message.len, len - 1);
			assert_null(memchr(s.log.message.s, line[at], len - 1));
			line[at] = '\t';
			line_parse(&p, (struct text){ line, len }, 0, NULL, &s);
			assert_int_equal(s.log.message.len, len);
		}
	line_parser_free(&p);
}

/* Whatever was repaired, removed or read twice on the way. */
static void a_line_can_be_had_back(void **state)
{
	static const struct row rows[] = {
		/* nothing behind the prefix */
		{ "2026-11-21 02:39:14 ERROR", 0, LEVEL_ERROR, NULL, "2026-11-21 02:39:14 ERROR", NULL },
		/* two prefixes; the line's own _prefix and _line */
		{ "web-1  | ERROR: no", 0, LEVEL_ERROR, NULL, "no",
		  "{\"container\":\"web-1\",\"_prefix\":\"web-1  | ERROR: \"}" },
		{ "ERROR: {\"msg\":\"m\",\"_prefix\":1}", 0, LEVEL_ERROR, NULL, "m",
		  "{\"_prefix_2\":1,\"_prefix\":\"ERROR: \"}" },
		{ "ERROR: {\"msg\":\"m\",\"_line\":1,}", 0, LEVEL_ERROR, NULL, "m",
		  "{\"_line_2\":1,\"_line\":\"ERROR: {\\\"msg\\\":\\\"m\\\",\\\"_line\\\":1,}\"}" },
		{ "web-1  | level=error msg=no", 0, LEVEL_ERROR, NULL, "no",
		  "{\"container\":\"web-1\",\"_line\":\"web-1  | level=error msg=no\"}" },
		/* colours, bytes that are not UTF-8, JSON inside that is repaired: each in its own memory */
		{ "\033[1mERROR: {\"msg\":\"\xff\\u0000\",\"n\":1e999,}", 0, LEVEL_ERROR, NULL,
		  "\xef\xbf\xbd\xef\xbf\xbd",
		  "{\"n\":\"1e999\",\"_line\":\"\\u001b[1mERROR: "
		  "{\\\"msg\\\":\\\"\xef\xbf\xbd\\\\u0000\\\",\\\"n\\\":1e999,}\"}" },
		/* an escape sequence is ASCII: what follows it is not cut */
		{ "a\033\xc3\xa9\033[3\xc3\xa9\033]t\xc3\xa9\033\\b\033", 0, LEVEL_INFO, NULL,
		  "a\xc3\xa9\xc3\xa9"
		  "b",
		  "{\"_line\":\"a\\u001b\xc3\xa9\\u001b[3\xc3\xa9\\u001b]t\xc3\xa9\\u001b\\\\b\\u001b\"}" },
	};

	(void)state;
	ROWS(rows);
}

static void a_wrapper_loses_nothing(void **state)
{
	static const struct row rows[] = {
		{ "{\"log\":\"ERROR: "
		  "a\\u0000\\ud800\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\":1},\"time\":\"2026-11-21T02:"
		  "39:13Z\"}",
		  -1000000, LEVEL_ERROR, NULL, "a\xef\xbf\xbd\xef\xbf\xbd",
		  "{\"stream\":\"stderr\",\"attrs\":{\"a\":1},\"_prefix\":\"ERROR: \"}" },
		/* a member that no wrapper has, or has twice: it is an object of somebody else's */
		{ "{\"log\":\"x\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-21T02:39:13Z\",\"k\":1}",
		  -1000000, LEVEL_INFO, NULL, "x\n", "{\"stream\":\"stderr\",\"k\":1}" },
		/* a time that is none */
		{ "2026-99-21T02:39:13.758088984Z stdout F x", 0, LEVEL_INFO, NULL, "x",
		  "{\"stream\":\"stdout\",\"time\":\"2026-99-21T02:39:13.758088984Z\"}" },
	};

	(void)state;
	ROWS(rows);
}

static void values_that_postgresql_refuses_are_repaired(void **state)
{
	static const struct row rows[] = {
		{ "{\"message\":\"a\\u0000b\"}", 0, LEVEL_INFO, NULL, "a\xef\xbf\xbd" "b", NULL },
		{ "{\"message\":\"x\",\"k\":\"\\ud800\"}", 0, LEVEL_INFO, NULL, "x", "{\"k\":\"\\ufffd\"}" },
		{ "{\"message\":\"x\",\"k\":\"\\udc00\\ud800\\ud83d\\ude00\"}", 0, LEVEL_INFO, NULL, "x",
		  "{\"k\":\"\\ufffd\\ufffd\\ud83d\\ude00\"}" },
		{ "{\"message\":\"x\",\"n\":1e100000}", 0, LEVEL_INFO, NULL, "x", "{\"n\":\"1e100000\"}" },
		{ "{\"message\":\"x\",\"n\":[-1E-999]}", 0, LEVEL_INFO, NULL, "x", "{\"n\":[\"-1E-999\"]}" },
		{ "{\"message\":\"x\",\"n\":1e11111111111111111111111111}", 0, LEVEL_INFO, NULL, "x",
		  "{\"n\":\"1e11111111111111111111111111\"}" },
		{ "{\"message\":\"\xff\xc3\xa9\"}", 0, LEVEL_INFO, NULL, "\xef\xbf\xbd\xc3\xa9", NULL },
		{ "caf\xe9 au lait", 0, LEVEL_INFO, NULL, "caf\xef\xbf\xbd au lait", NULL },
		{ "{\"\xed\xa0\x80\":1}", 0, LEVEL_INFO, NULL, "{\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\":1}",
		  "{\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\":1}" },
	};
	static const char nul[] = "{\"message\":\"a\0b\"}", text_nul[] = "ERROR a\0b";

	(void)state;
	ROWS(rows);
	expect((struct text){ nul, sizeof nul - 1 },
	       &(struct row){ NULL, 0, LEVEL_INFO, NULL, "a\xef\xbf\xbd" "b", NULL });
	expect((struct text){ text_nul, sizeof text_nul - 1 },
	       &(struct row){ NULL, 0, LEVEL_ERROR, NULL, "a\xef\xbf\xbd" "b", "{\"_prefix\":\"ERROR \"}" });
}

/* A line of `depth` nested arrays, or of `keys` keys, as the value of "k". */
static char *nested(size_t depth)
{
	char *line = malloc(2 * depth + 64), *p = line;

	p += snprintf(p, 64, "{\"message\":\"deep\",\"k\":");
	memset(p, '[', depth);
	memset(p + depth, ']', depth);
	memcpy(p + 2 * depth, "}", 2);
	return line;
}

static char *many_keys(int n, bool inside)
{
	struct buf b = BUF(1 << 20);

	buf_adds(&b, inside ? "{\"message\":\"many\",\"context\":{" : "{\"message\":\"many\"");
	for (int i = 0; i < n; i++)
		buf_addf(&b, "%s\"k%d\":%d", inside && i == 0 ? "" : ",", i, i);
	buf_adds(&b, inside ? "}}" : "}");
	buf_cstr(&b);
	return b.data;
}

static void expect_message(char *line, const char *message)
{
	struct line_parser p;
	struct sample s;

	line_parser_init(&p);
	line_parse(&p, text_of(line), NOW, NULL, &s);
	expect_text(s.log.message, message ? message : line);
	line_parser_free(&p);
	free(line);
}

static void depth_and_keys_have_limits(void **state)
{
	(void)state;
	expect_message(nested(OBJECT_DEPTH_MAX - 1), "deep");
	expect_message(nested(OBJECT_DEPTH_MAX), NULL);
	expect_message(nested(10000), NULL);
	expect_message(many_keys(OBJECT_KEYS_MAX - 1, false), "many");
	expect_message(many_keys(OBJECT_KEYS_MAX, false), NULL);
	expect_message(many_keys(OBJECT_KEYS_MAX - 2, true), "many");
	expect_message(many_keys(OBJECT_KEYS_MAX - 1, true), NULL);
}

static void a_mark_joins_the_context(void **state)
{
	static const struct { const char *line, *context; } rows[] = {
		{ "text", "{\"_cut\":9}" },
		{ "{\"message\":\"x\"}", "{\"_cut\":9}" },
		{ "{\"message\":\"x\",\"context\":{\"a\":1}}", "{\"a\":1,\"_cut\":9}" },
		{ "{\"message\":\"x\",\"context\":{\"_cut\":1}}", "{\"_cut_2\":1,\"_cut\":9}" },
	};
	struct line_parser p;
	struct sample s;

	(void)state;
	line_parser_init(&p);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		line_parse(&p, text_of(rows[i].line), NOW, "\"_cut\":9", &s);
		expect_text(s.log.context, rows[i].context);
	}
	line_parser_free(&p);
}

/* Every prefix and every single changed byte of a line with all there is in it:
 * the context that comes out is always JSON that another parser reads. */
static void damaged_lines_never_give_a_broken_context(void **state)
{
	static const char line[] =
		"{\"timestamp\":\"2026-11-21T02:39:13.5Z\",\"level\":\"ERROR\",\"x\":[1,-2.5e3,"
		"{\"a\":\"\\ud83d\\ude00\\n\"},null,true],\"message\":\"m\",\"context\":{\"b\":{}}}";
	static const char with[] = "\"\\{}[]:,u0\xff\x01";
	char copy[sizeof line];
	struct line_parser p;
	struct sample s;

	(void)state;
	line_parser_init(&p);
	for (size_t i = 0; i < sizeof line - 1; i++)
		for (size_t k = 0; k <= sizeof with - 1; k++) {
			struct text t = { copy, k == sizeof with - 1 ? i : sizeof line - 1 };

			memcpy(copy, line, sizeof line);
			if (k < sizeof with - 1)
				copy[i] = with[k];
			line_parse(&p, t, NOW, NULL, &s);
			assert_true(utf8_is_clean(s.log.message));
			if (s.log.context.s) {
				struct json_tokener *tok = json_tokener_new();
				struct json_object *o;

				json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
				o = json_tokener_parse_ex(tok, s.log.context.s, (int)s.log.context.len);
				assert_true(json_object_is_type(o, json_type_object));
				json_object_put(o);
				json_tokener_free(tok);
			}
		}
	line_parser_free(&p);
}

/* The row of a trace stands beside the line that it explains, also in a backlog. */
static void a_trace_has_the_time_of_the_line_before_it(void **state)
{
	static const char trace[] =
		"Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: x";
	static const char *const others[] = { "a text", "ERROR x", "Exception: x" };
	struct line_parser p;
	struct sample s;

	(void)state;
	line_parser_init(&p);
	p.clock.last_us = NOW - 86400 * US_PER_S;
	p.clock.last_at_us = NOW - US_PER_S;
	line_parse(&p, text_of(trace), NOW, NULL, &s);
	assert_int_equal(s.timestamp_us, p.clock.last_us);
	assert_false(p.found.timed);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		line_parse(&p, text_of(others[i]), NOW, NULL, &s);
		assert_int_equal(s.timestamp_us, NOW);
	}
	p.clock.last_at_us = NOW - 11 * US_PER_S;               /* a pause */
	line_parse(&p, text_of(trace), NOW, NULL, &s);
	assert_int_equal(s.timestamp_us, NOW);
	p.clock.last_at_us = 0;
	line_parse(&p, text_of(trace), NOW, NULL, &s);
	assert_int_equal(s.timestamp_us, NOW);
	line_parser_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_trace_has_the_time_of_the_line_before_it),
		cmocka_unit_test(a_line_of_logcore_is_taken_apart),
		cmocka_unit_test(the_dialects_of_other_loggers_are_read),
		cmocka_unit_test(nothing_of_a_line_is_lost),
		cmocka_unit_test(of_equal_keys_all_values_are_kept),
		cmocka_unit_test(many_equal_keys_are_told_apart),
		cmocka_unit_test(a_line_that_is_no_object_is_kept_as_text),
		cmocka_unit_test(json_is_repaired_where_the_meaning_is_plain),
		cmocka_unit_test(the_prefix_of_text_becomes_columns),
		cmocka_unit_test(colours_leave_each_column),
		cmocka_unit_test(a_control_leaves_wherever_it_stands),
		cmocka_unit_test(a_line_can_be_had_back),
		cmocka_unit_test(a_wrapper_loses_nothing),
		cmocka_unit_test(values_that_postgresql_refuses_are_repaired),
		cmocka_unit_test(depth_and_keys_have_limits),
		cmocka_unit_test(a_mark_joins_the_context),
		cmocka_unit_test(damaged_lines_never_give_a_broken_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
