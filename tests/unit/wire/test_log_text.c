/* Lines of loggers and servers, each with what they say: tests/unit/wire/loggers.txt tells the format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "common/parse.h"
#include "wire/log/log_line.h"

#define FILES { "tests/unit/wire/loggers.txt", "tests/unit/wire/json_loggers.txt" }

enum { RECORD_MAX = 8192, LOGGERS_MIN = 80 };

static int64_t now_us;

struct expectation {
	char logger[64];                /* whose line it is */
	char record[RECORD_MAX], want[RECORD_MAX];
};

static void append(char *to, const char *text)
{
	size_t n = strlen(to);

	assert_true(n + strlen(text) + 1 < RECORD_MAX);
	memcpy(to + n, text, strlen(text) + 1);
}

/* The next one of the file; false: there is none. */
static bool next(FILE *f, struct expectation *x)
{
	char line[RECORD_MAX];

	x->record[0] = x->want[0] = '\0';
	for (int c; fgets(line, sizeof line, f);) {
		if (line[0] == '#' && line[1] == ' ')
			snprintf(x->logger, sizeof x->logger, "%.*s", (int)strcspn(line + 2, "\n"), line + 2);
		else if (line[0] == '>')
			append(x->record, line + 2);
		else if (line[0] == '<' || line[0] == '|' || line[0] == '{')
			append(x->want, line);
		c = fgetc(f);
		ungetc(c, f);
		if (x->want[0] && c != '|' && c != '{')
			break;
	}
	if (x->record[0])
		x->record[strlen(x->record) - 1] = '\0';
	return x->record[0] != '\0';
}

/* The context without what is there for having the line back. */
static void print_context(char *out, json_object *context)
{
	json_object_object_del(context, "_prefix");
	json_object_object_del(context, "_line");
	if (json_object_object_length(context) > 0) {
		append(out, json_object_to_json_string_ext(context, JSON_C_TO_STRING_PLAIN |
									    JSON_C_TO_STRING_NOSLASHESCAPE));
		append(out, "\n");
	}
}

/* What was read, as the file writes it. */
static void print(char *out, const struct line_parser *p, const struct sample *s, json_object *context)
{
	char time[RFC3339_SIZE], message[RECORD_MAX];

	format_rfc3339(time, s->timestamp_us);
	snprintf(out, RECORD_MAX, "< %s %s %.*s\n", p->found.timed ? time : "-",
		 p->found.leveled ? log_level_names[s->log.level] : "-",
		 s->log.logger.s ? (int)s->log.logger.len : 1, s->log.logger.s ? s->log.logger.s : "-");
	snprintf(message, sizeof message, "%.*s", (int)s->log.message.len, s->log.message.s);
	for (char *line = message, *end; line; line = end) {
		end = strchr(line, '\n');
		if (end)
			*end++ = '\0';
		append(out, "| ");
		append(out, line);
		append(out, "\n");
	}
	print_context(out, context);
}

/* The row holds the line as it stood: docs/log-formats.md, "The line as it stood". */
static void assert_had_back(const struct expectation *x, const struct sample *s, json_object *context)
{
	const char *prefix = json_object_get_string(json_object_object_get(context, "_prefix"));
	const char *line = json_object_get_string(json_object_object_get(context, "_line"));
	char back[RECORD_MAX];

	snprintf(back, sizeof back, "%s%.*s", prefix ? prefix : "", (int)s->log.message.len,
		 s->log.message.s);
	if (x->record[0] != '{' && strcmp(line ? line : back, x->record) != 0)
		fail_msg("%s: not had back: %s\n%s", x->logger, x->record, line ? line : back);
}

static void judge(struct line_parser *p, const struct expectation *x, unsigned *wrong)
{
	json_object *context;
	char got[RECORD_MAX];
	struct sample s;

	line_parse(p, text_of(x->record), now_us, NULL, &s);
	snprintf(got, sizeof got, "%.*s", s.log.context.s ? (int)s.log.context.len : 2,
		 s.log.context.s ? s.log.context.s : "{}");
	context = json_tokener_parse(got);
	assert_non_null(context);
	assert_had_back(x, &s, context);
	print(got, p, &s, context);
	json_object_put(context);
	if (strcmp(got, x->want) != 0) {
		print_message("%s:\n> %s\nis read as\n%s", x->logger, x->record, got);
		++*wrong;
	}
}

static void lines_of_many_loggers_are_read(void **state)
{
	static const char *const files[] = FILES;
	static struct expectation x;
	struct line_parser p;
	struct zone utc;
	struct err e;
	unsigned loggers = 0, wrong = 0;
	char last[sizeof x.logger] = "";

	(void)state;
	assert_true(parse_rfc3339(TEXT("2026-11-30T13:00:00Z"), &now_us));
	assert_int_equal(zone_load(&utc, "UTC", &e), 0);
	line_parser_init(&p);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		FILE *f = fopen(files[i], "r");

		assert_non_null(f);
		while (next(f, &x)) {
			loggers += strcmp(last, x.logger) != 0;
			memcpy(last, x.logger, sizeof last);
			p.clock = (struct log_clock){ .zone = &utc };
			judge(&p, &x, &wrong);
		}
		fclose(f);
	}
	line_parser_free(&p);
	assert_int_equal(wrong, 0);
	assert_true(loggers >= LOGGERS_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(lines_of_many_loggers_are_read) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
