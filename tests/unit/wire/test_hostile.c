/* Lines that were made to cost time, and prose that was not meant for a log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/unit/cpu_time.h"
#include "wire/log/log_line.h"
#include "wire/log/multiline.h"

static const int64_t NOW = INT64_C(1795228754000000);   /* 2026-11-21T02:39:14Z */

/* ---- costs ---- */

/* Work that grows with the square of a line's length takes minutes; sanitizers and valgrind slow a tenth of a
 * second down to two. */
enum { LINE_CPU_MS_MAX = 3000 };

/* `begin`, then `piece` again and again up to `len` bytes, then `end`. */
static struct text fill(char *to, size_t len, const char *begin, const char *piece, const char *end)
{
	size_t n = strlen(begin), m = strlen(piece);

	memcpy(to, begin, n);
	for (; n + m + strlen(end) <= len; n += m)
		memcpy(to + n, piece, m);
	memcpy(to + n, end, strlen(end));
	return (struct text){ to, n + strlen(end) };
}

static const struct {
	const char *begin, *piece, *end;
} crafted[] = {
	{ "", "a", "" },
	{ "", " ", "x" },
	{ "", "\t", "x" },
	{ "", "[", "" },
	{ "", "[a]", "" },
	{ "", "[ERROR] ", "" },
	{ "", "(a) ", "x" },
	{ "ERROR ", "[a] ", "x" },
	{ "ERROR ", "a:", " x" },
	{ "ERROR ", "a.b:1 ", "x" },
	{ "", "1", "" },
	{ "", "1 ", "" },
	{ "", "12:00:01 ", "" },
	{ "", "2026-11-21 02:39:14 ", "" },
	{ "2026-11-21 02:39:14 ", "| ", "x" },
	{ "2026-11-21 02:39:14 ", "- ", "x" },
	{ "2026-11-21 02:39:14 ", "1 ", "x" },
	{ "2026-11-21 02:39:14 ", "a ", "" },
	{ "2026-11-21 02:39:14 ", "a.b", ": x" },
	{ "2026-11-21 02:39:14 ", "a@b", " ERROR: x" },
	{ "2026-11-21 02:39:14 ", "]:", "" },
	{ "<27>1 2026-11-21T02:39:14Z h a 1 i ", "[a b=\"c\"]", " x" },
	{ "", "a=1 ", "" },
	{ "level=error ", "a=1 ", "" },
	{ "level=error ", "a=\"\\\"\" ", "" },
	{ "level=error msg=\"", "\\\"", "\"" },
	{ "a - - [21/Nov/2026:02:39:14 +0000] \"", "\\\"", "\" 1 2" },
	{ "a - - [21/Nov/2026:02:39:14 +0000] \"GET / HTTP/1.1\" 200 7 ", "\"a\" ", "" },
	{ "", "\"", "" },
	{ "", ",", "" },
	{ "2026-11-21 02:39:14.1 UTC,", "\"\"\"\",", "ERROR,x" },
	{ "", "\033[1m", "x" },
	{ "", "\033", "x" },
	{ "", "\033]", "x" },
	{ "", "\x01", "" },
	{ "", "\xff", "" },
	{ "{", "{", "" },
	{ "{\"a\":", "[", "" },
	{ "{\"a\":\"", "\\", "\"}" },
	{ "{\"a\":\"", "\\x41", "\"}" },
	{ "{\"a\":\"", "\\u0000", "\"}" },
	{ "{\"a\":[", "NaN,", "1]}" },
	{ "{\"a\":[1", ", ", "]}" },
	{ "{\"msg\":\"", "\\\\", "\"}" },
	{ "{\"msg\":1,\"a\":[", "1e999,", "1]}" },
	{ "{\"log\":\"", "\\n", "\",\"stream\":\"\",\"time\":\"\"}" },
	{ "{\"log\":{", "\"level\":{", "" },
	{ "{\"a\":1", ",\"a\":1", "}" },
	{ "web-1  | ", "web-1  | ", "" },
	{ "", "ERROR: ", "" },
	{ "", "panicked at ", "" },
	{ "", "Warning: ", "" },
	{ "", "a:1: Warning: ", "" },
	{ "", "\xe2\x9c\x96 ", "" },
	{ "(", "a", ")" },
};

static void no_line_costs_more_than_its_length(void **state)
{
	char *line = malloc(LINE_BYTES_MAX + 1);
	struct line_parser p;
	struct sample s;

	(void)state;
	line_parser_init(&p);
	for (size_t i = 0; i < sizeof crafted / sizeof *crafted; i++) {
		struct text t =
			fill(line, LINE_BYTES_MAX, crafted[i].begin, crafted[i].piece, crafted[i].end);
		int64_t before = cpu_ms(), took;

		line_parse(&p, t, NOW, NULL, &s);
		took = cpu_ms() - before;
		assert_non_null(s.log.message.s);
		if (took > cpu_ms_bound(LINE_CPU_MS_MAX))
			fail_msg("\"%s\" and many \"%s\": %" PRId64 " ms", crafted[i].begin,
				 crafted[i].piece, took);
	}
	line_parser_free(&p);
	free(line);
}

/* Lines of one kind, taken apart into records from the first byte to the last. */
static void records_of(struct multiline_room *room, struct text t)
{
	struct multiline m = { .records = 0 };

	for (size_t at = 0; at < t.len;) {
		bool open;
		size_t n = multiline_record(&m, room, (struct text){ t.s + at, t.len - at }, &open);

		assert_true(n <= LINE_BYTES_MAX);
		multiline_learn(&m, room, (struct text){ t.s + at, n });
		at += n + 1;
	}
}

static void no_lines_cost_more_than_their_length_as_records(void **state)
{
	static const char *const more[] = { "\n",
					    " \n",
					    "  a\n",
					    "}\n",
					    "a\n",
					    "aError\n",
					    "panic: a\n",
					    "a()\n",
					    "/a:1\n",
					    "^\n",
					    "Traceback (most recent call last)\n",
					    "During handling of the above exception\n",
					    "ERROR a\n",
					    "12:00:01 a\n",
					    "a=1 b=2\n",
					    "{\n",
					    "{\"a\":1}\n",
					    "#0 \n",
					    "2026-11-21T02:39:14.123456789Z stdout P a\n",
					    "{\"log\":\"a\",\"stream\":\"s\",\"time\":\"t\"}\n" };
	char *lines = malloc(LINE_BYTES_MAX + 1);
	struct multiline_room room;

	(void)state;
	multiline_room_init(&room);
	room.clock.now_us = NOW;
	for (size_t i = 0; i < sizeof more / sizeof *more + sizeof crafted / sizeof *crafted; i++) {
		size_t k = i - sizeof more / sizeof *more;
		bool is_lines = i < sizeof more / sizeof *more;
		struct text t =
			is_lines ? fill(lines, LINE_BYTES_MAX, "", more[i], "")
				 : fill(lines, LINE_BYTES_MAX, crafted[k].begin, crafted[k].piece, "\n");
		int64_t before = cpu_ms(), took;

		records_of(&room, t);
		took = cpu_ms() - before;
		if (took > cpu_ms_bound(LINE_CPU_MS_MAX))
			fail_msg("many \"%s\": %" PRId64 " ms", is_lines ? more[i] : crafted[k].piece, took);
	}
	multiline_room_free(&room);
	free(lines);
}

/* ---- false alarms ---- */

/*
 * Documents and programs of this machine are no logs: hardly a line of them is above INFO. What begins as a
 * person would write a warning is one all the same, as "Warning: the disk is full"; so is Python's traceback.
 */
enum { PROSE_LINES_MIN = 100000, FILE_LINES_MAX = 3000, KIND_LINES_MAX = 80000, LINE_MAX_READ = 1 << 16 };

static const char *const prose[] = {
	"/usr/share/doc/*/*",      "/usr/share/common-licenses/*",
	"/usr/share/perl/*/*.pod", "/usr/share/perl/*/*.pm",
	"/usr/include/*.h",        "/usr/include/*/*.h",
	"/usr/lib/python3*/*.py",  "/usr/lib/python3*/*/*.py",
};

/* A label at the very beginning, with a colon or in brackets, is meant as a level. */
static bool is_labelled(const char *line)
{
	static const char *const labels[] = { "error",   "warning", "warn",   "fatal",     "critical",
					      "panic",   "alert",   "severe", "exception", "emergency",
					      "emerg",   "err",     "crit",   "failure",   "fail",
					      "caution", NULL };
	size_t n = strspn(line, "*[<( \t");

	if (strncmp(line + n, "Traceback (most recent call last)", 33) == 0)
		return true;
	for (const char *const *label = labels; *label; label++)
		if (strncasecmp(line + n, *label, strlen(*label)) == 0 &&
		    strchr(":]>)", line[n + strlen(*label)]))
			return true;
	return false;
}

struct prose {
	size_t lines, alarms, labelled;
	struct line_parser parser;
};

/* Not the whole of the longest: more files have more kinds of lines. */
static void read_prose(struct prose *x, const char *path)
{
	size_t end = x->lines + FILE_LINES_MAX;
	static char line[LINE_MAX_READ];
	FILE *f = fopen(path, "r");
	struct sample s;

	while (f && x->lines < end && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		x->lines++;
		line_parse(&x->parser, text_of(line), NOW, NULL, &s);
		if (s.log.level <= LEVEL_INFO)
			continue;
		if (is_labelled(line)) {
			x->labelled++;
			continue;
		}
		x->alarms++;
		print_message("%s: %s\n", path, line);
	}
	if (f)
		fclose(f);
}

static void prose_and_code_raise_no_alarm(void **state)
{
	struct prose x = { .lines = 0 };
	glob_t files;

	(void)state;
	line_parser_init(&x.parser);
	for (size_t i = 0; i < sizeof prose / sizeof *prose; i++) {
		size_t end = x.lines + KIND_LINES_MAX;

		if (glob(prose[i], 0, NULL, &files) != 0)
			continue;
		for (size_t k = 0; k < files.gl_pathc && x.lines < end; k++)
			if (!strstr(files.gl_pathv[k], ".gz"))
				read_prose(&x, files.gl_pathv[k]);
		globfree(&files);
	}
	line_parser_free(&x.parser);
	print_message("%zu lines: %zu false alarms, %zu labels\n", x.lines, x.alarms, x.labelled);
	if (x.lines < PROSE_LINES_MIN) {
		print_message("skipped: this machine has fewer than %d lines of documentation and sources\n",
			      PROSE_LINES_MIN);
		skip();
	}
	assert_int_equal(x.alarms, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_line_costs_more_than_its_length),
		cmocka_unit_test(no_lines_cost_more_than_their_length_as_records),
		cmocka_unit_test(prose_and_code_raise_no_alarm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
