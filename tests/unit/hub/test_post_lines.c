/* The log lines of a payload become rows, with the levels and times that an agent would find. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fleet_hub/ingest/post_lines.c"

enum { OUT_MAX = 4 * 1024 * 1024 };

#define NOW_US INT64_C(1796018400000000) /* 2026-11-30T06:00:00Z */

static const char *lines(struct buf *out, const char *payload)
{
	buf_reset(out);
	assert_true(post_lines(text_of(payload), NOW_US, out));
	return buf_cstr(out);
}

static void check(const char *payload, const char *rows)
{
	CLEANUP(buf_free) struct buf out = BUF(OUT_MAX);

	assert_string_equal(lines(&out, payload), rows);
}

static void a_payload_without_lines_gives_no_rows(void **state)
{
	(void)state;
	check("{}", "[]");
	check("{\"logs\":[]}", "[]");
	check("{\"logs\":{\"systemd\":{}}}", "[]");
	check("[1,2]", "[]");
	check("{\"logs\":5,\"ts\":{}}", "[]");
	check("{\"logs\":[5,{},{\"message\":5},\"x\"]}", "[]");
	check("{\"logs\":{\"systemd\":{\"a\":5,\"b\":[1,{}]},\"other\":{\"c\":[\"x\"]}}}", "[]");
}

static void a_unit_is_the_logger_of_its_lines(void **state)
{
	(void)state;
	check("{\"ts\":\"2026-11-30T05:00:00Z\",\"logs\":{\"systemd\":{\"shop.service\":[\"plain\"]}}}",
	      "[ [null,\"shop.service\",1796014800000000,2,\"plain\",null]]");
	check("{\"ts\":1796014800,\"logs\":{\"systemd\":{\"shop\":"
	      "[\"2026-11-30 04:59:58,250 ERROR db: lost\"]}}}",
	      "[ [null,\"shop\",1796014798250000,4,\"lost\",{\"logger\":\"db\","
	      "\"_prefix\":\"2026-11-30 04:59:58,250 ERROR db: \"}]]");
}

static void lines_of_the_journal_have_the_zone_of_the_payload(void **state)
{
	(void)state;
	check("{\"ts\":\"2026-11-30T06:00:00+02:00\",\"logs\":{\"systemd\":{\"cron.service\":"
	      "[\"Nov 30 05:59:01 web-1 CRON[77]: warning: late\"]}}}",
	      "[ [null,\"cron.service\",1796011141000000,3,\"late\","
	      "{\"logger\":\"CRON\",\"host\":\"web-1\",\"pid\":77,"
	      "\"_prefix\":\"Nov 30 05:59:01 web-1 CRON[77]: warning: \"}]]");
}

static void a_stack_trace_is_one_row(void **state)
{
	(void)state;
	check("{\"ts\":1796018400,\"logs\":{\"systemd\":{\"shop\":["
	      "\"2026-11-30T05:00:00Z INFO one\",\"2026-11-30T05:00:01Z ERROR failed\","
	      "\"java.lang.Error: x\",\"\\tat a.B.c(B.java:1)\",\"2026-11-30T05:00:02Z INFO two\"]}}}",
	      "[ [null,\"shop\",1796014800000000,2,\"one\",{\"_prefix\":\"2026-11-30T05:00:00Z INFO \"}],"
	      "[null,\"shop\",1796014801000000,4,"
	      "\"failed\\njava.lang.Error: x\\n\\tat a.B.c(B.java:1)\",{\"_prefix\":\"2026-11-30T05:00:01Z "
	      "ERROR \"}],"
	      "[null,\"shop\",1796014802000000,2,\"two\",{\"_prefix\":\"2026-11-30T05:00:02Z INFO \"}]]");
}

static void an_item_has_its_time_until_its_line_names_one(void **state)
{
	(void)state;
	check("{\"timestamp\":\"2026-11-30T05:00:00Z\",\"logs\":["
	      "{\"container\":\"pg\",\"message\":\"ready\",\"timestamp\":\"2026-11-30T04:00:00+00:00\"},"
	      "{\"container\":\"pg\",\"message\":\"2026-11-30T03:00:00Z WARN "
	      "slow\",\"timestamp\":1796014800.5},"
	      "{\"message\":\"no time\",\"timestamp\":null},"
	      "{\"container\":\"api\",\"message\":\"{\\\"level\\\":\\\"fatal\\\",\\\"msg\\\":\\\"gone\\\","
	      "\\\"logger\\\":\\\"db\\\",\\\"n\\\":1}\"}]}",
	      "[ [0,\"pg\",1796011200000000,2,\"ready\",null],"
	      "[1,\"pg\",1796007600000000,3,\"slow\",{\"_prefix\":\"2026-11-30T03:00:00Z WARN \"}],"
	      "[2,null,1796014800000000,2,\"no time\",null],"
	      "[3,\"api\",1796014800000000,5,\"gone\",{\"logger\":\"db\",\"n\":1}]]");
}

static void the_client_may_name_the_level(void **state)
{
	(void)state;
	check("{\"logs\":[{\"message\":\"a\",\"level\":\"error\"},{\"message\":\"DEBUG: "
	      "b\",\"severity\":\"error\"},"
	      "{\"message\":\"c\",\"level\":\"strange\"},{\"message\":\"d\",\"level\":7}]}",
	      "[ "
	      "[0,null,1796018400000000,4,\"a\",null],[1,null,1796018400000000,1,\"b\",{\"_prefix\":\"DEBUG: "
	      "\"}],"
	      "[2,null,1796018400000000,2,\"c\",null],[3,null,1796018400000000,2,\"d\",null]]");
}

static void keys_are_known_by_what_they_say(void **state)
{
	(void)state;
	check("{\"lo\\u0067s\":[{\"mess\\u0061ge\":\"a\\u00e9\\n\"}]}",
	      "[ [0,null,1796018400000000,2,\"a\u00e9\",null]]");
	check("{\"logs\":[{\"message\":\"a\"}],\"logs\":[{\"message\":\"b\"}]}",
	      "[ [0,null,1796018400000000,2,\"b\",null]]");
}

static void a_long_line_is_cut_and_marked(void **state)
{
	CLEANUP(buf_free) struct buf out = BUF(OUT_MAX), payload = BUF(OUT_MAX);
	const char *rows;

	(void)state;
	buf_adds(&payload, "{\"logs\":[{\"message\":\"");
	for (int i = 0; i < 300 * 1024; i++)
		buf_addc(&payload, 'x');
	buf_adds(&payload, "\"}]}");
	rows = lines(&out, buf_cstr(&payload));
	assert_non_null(strstr(rows, "{\"_cut_bytes\":307200}]]"));
	assert_true(out.len < 257 * 1024);
}

static void more_than_there_is_room_for_is_no_answer(void **state)
{
	CLEANUP(buf_free) struct buf out = BUF(30);

	(void)state;
	assert_false(post_lines(TEXT("{\"logs\":[{\"message\":\"a long message that does not fit\"}]}"),
				NOW_US, &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_payload_without_lines_gives_no_rows),
		cmocka_unit_test(a_unit_is_the_logger_of_its_lines),
		cmocka_unit_test(lines_of_the_journal_have_the_zone_of_the_payload),
		cmocka_unit_test(a_stack_trace_is_one_row),
		cmocka_unit_test(an_item_has_its_time_until_its_line_names_one),
		cmocka_unit_test(the_client_may_name_the_level),
		cmocka_unit_test(keys_are_known_by_what_they_say),
		cmocka_unit_test(a_long_line_is_cut_and_marked),
		cmocka_unit_test(more_than_there_is_room_for_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
