/* Records of real files: the same whether a file is read at once or as it grows, cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/parse.h"
#include "wire/log/log_line.h"
#include "wire/log/multiline.h"

enum { CUTS = 20, ENDS_MAX = 512, FILE_MAX = 1 << 17 };

struct ends {
	size_t n, end[ENDS_MAX];
};

/* Take the records of `t` from *at on, as the agent's reader does. `settled`: nothing will follow. */
static void take(struct multiline *m, struct multiline_room *room, struct text t, size_t *at, bool settled,
		 struct ends *ends)
{
	while (*at < t.len && memchr(t.s + *at, '\n', t.len - *at)) {
		struct text rest = { t.s + *at, t.len - *at };
		bool open;
		size_t n = multiline_record(m, room, rest, &open);

		if (open && !settled)
			return;
		multiline_learn(m, room, (struct text){ rest.s, n });
		*at += n + 1;
		assert_true(ends->n < ENDS_MAX);
		ends->end[ends->n++] = *at;
	}
}

static void split(struct multiline_room *room, struct text t, unsigned cuts, struct ends *ends)
{
	struct multiline m = { .records = 0 };
	size_t at = 0, seen = 0;

	ends->n = 0;
	for (unsigned i = 0; i < cuts && seen < t.len; i++) {
		seen += (size_t)rand() % (2 * t.len / cuts + 1);
		take(&m, room, (struct text){ t.s, seen < t.len ? seen : t.len }, &at, false, ends);
	}
	take(&m, room, t, &at, true, ends);
}

static size_t read_file(const char *path, char *to)
{
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(to, 1, FILE_MAX, f);
	fclose(f);
	return n;
}

/* Each file of the corpus, at once and cut; `start`: the beginning of a record, NULL where it is learnt. */
static void compare_cuts(const char *start, bool raw)
{
	static char bytes[FILE_MAX];
	struct line_start *compiled = NULL;
	struct multiline_room room;
	struct ends whole, parts;
	struct zone zone;
	struct err e;
	glob_t files;

	assert_int_equal(glob("tests/corpus/logs/*.log", 0, NULL, &files), 0);
	assert_int_equal(zone_load(&zone, "Asia/Kolkata", &e), 0);
	multiline_room_init(&room);
	room.clock.zone = &zone;
	room.raw = raw;
	if (start)
		assert_int_equal(line_start_compile(&compiled, start, &e), 0);
	room.start = compiled;
	assert_true(parse_rfc3339(TEXT("2026-11-30T07:30:00Z"), &room.clock.now_us));
	srand(12);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		struct text t = { bytes, read_file(files.gl_pathv[i], bytes) };

		split(&room, t, 0, &whole);
		for (unsigned k = 1; k <= CUTS; k++) {
			split(&room, t, 3 * k, &parts);
			if (parts.n != whole.n ||
			    memcmp(parts.end, whole.end, whole.n * sizeof *whole.end) != 0)
				fail_msg("%s: %zu records at once, %zu with %u cuts", files.gl_pathv[i],
					 whole.n, parts.n, 3 * k);
		}
	}
	globfree(&files);
	line_start_free(compiled);
	multiline_room_free(&room);
}

static void records_do_not_depend_on_when_they_were_read(void **state)
{
	(void)state;
	compare_cuts(NULL, false);
}

static void configured_records_do_not_depend_on_when_they_were_read(void **state)
{
	(void)state;
	compare_cuts("^[[{0-9]", false);
	compare_cuts("at |[0-9]{2}$", false);
	compare_cuts("^[A-Z]", true);
	compare_cuts(NULL, true);
}

static bool same_text(struct text a, struct text b)
{
	return (a.s == NULL) == (b.s == NULL) && text_eq(a, b);
}

static void expect_same(struct line_parser *with, struct line_parser *without, struct text record,
			int64_t now_us)
{
	struct sample a, b;

	line_parse(with, record, now_us, NULL, &a);
	line_parse(without, record, now_us, NULL, &b);
	if (a.timestamp_us != b.timestamp_us || a.log.level != b.log.level ||
	    !same_text(a.log.logger, b.log.logger) || !same_text(a.log.message, b.log.message) ||
	    !same_text(a.log.context, b.log.context))
		fail_msg("%.*s is read as \"%.*s\" %.*s", (int)record.len, record.s, (int)a.log.message.len,
			 a.log.message.s, (int)a.log.context.len, a.log.context.s);
}

/* Berlin's clocks went back on 2026-10-25 at 03:00: the order of lines tells which 02:30 is meant. */
static void a_line_that_was_looked_at_before_is_read_the_same(void **state)
{
	static const char twice[] = "2026-10-25 02:30:00 a\n2026-10-25 02:59:59 b\n2026-10-25 02:10:00 c\n"
				    "2026-10-25 02:30:00 a\n2026-10-25 02:30:00 a\n";
	static char bytes[FILE_MAX];
	struct line_parser with, without;
	struct multiline_room room;
	struct zone zone;
	struct err e;
	glob_t files;

	(void)state;
	assert_int_equal(glob("tests/corpus/logs/*.log", 0, NULL, &files), 0);
	assert_int_equal(zone_load(&zone, "Europe/Berlin", &e), 0);
	multiline_room_init(&room);
	line_parser_init(&with);
	line_parser_init(&without);
	room.clock.zone = with.clock.zone = without.clock.zone = &zone;
	with.memo = &room.memo;
	assert_true(parse_rfc3339(TEXT("2026-11-30T07:30:00Z"), &room.clock.now_us));
	for (size_t i = 0; i <= files.gl_pathc; i++) {
		struct text t = i < files.gl_pathc
					? (struct text){ bytes, read_file(files.gl_pathv[i], bytes) }
					: text_of(twice);
		struct multiline m = { .records = 0 };

		with.clock.last_us = without.clock.last_us = 0;
		for (size_t at = 0; at < t.len;) {
			struct text record = { t.s + at, t.len - at };
			bool open;

			record.len = multiline_record(&m, &room, record, &open);
			expect_same(&with, &without, record, room.clock.now_us);
			if (without.found.timed) {
				struct sample s;

				line_parse(&without, record, room.clock.now_us, NULL, &s);
				with.clock.last_us = without.clock.last_us = s.timestamp_us;
			}
			at += record.len + 1;
		}
	}
	line_parser_free(&with);
	line_parser_free(&without);
	multiline_room_free(&room);
	globfree(&files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_that_was_looked_at_before_is_read_the_same),
		cmocka_unit_test(records_do_not_depend_on_when_they_were_read),
		cmocka_unit_test(configured_records_do_not_depend_on_when_they_were_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
