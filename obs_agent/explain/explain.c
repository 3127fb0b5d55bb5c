#include "explain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/path_pattern.h"
#include "common/utf8.h"
#include "common/visible.h"
#include "wire/log/log_keys.h"
#include "wire/log/log_level.h"
#include "wire/log/log_line.h"
#include "wire/log/multiline.h"

enum {
	PART_BYTES = 4 * 1024 * 1024,   /* of the beginning and of the end are read */
	ODD_MAX = 3,                    /* odd records that are shown */
	SHOWN_MAX = 300,                /* bytes of a value */
};

struct place {
	int64_t offset;
	struct text record;
};

struct explanation {
	FILE *out;
	struct line_parser parser;
	struct multiline_room room;
	struct multiline form;
	struct zone zone;               /* the machine's */
	struct zones zones;             /* that lines name */
	int64_t now_us;
	int64_t records, lines, timed, leveled, wrapped;
	int64_t forms[LINE_FORMS], levels[LOG_LEVELS];
	int64_t first_us, last_us;
	int odd;                        /* records that were shown */
	struct place first, last;
};

/* ---- reading ---- */

static void free_explanation(struct explanation *x)
{
	line_parser_free(&x->parser);
	multiline_room_free(&x->room);
	zones_free(&x->zones);
}

static int64_t count_lines(struct text t)
{
	int64_t n = 1;

	for (size_t i = 0; i < t.len; i++)
		n += t.s[i] == '\n';
	return n;
}

static bool blank(struct text t)
{
	size_t n = 0;

	while (n < t.len && strchr(" \t\r\n", t.s[n]))
		n++;
	return n == t.len;
}

static void parse(struct explanation *x, struct text record, struct sample *s)
{
	line_parse(&x->parser, record, x->now_us, NULL, s);
}

static void note(struct explanation *x, struct text record, int64_t offset)
{
	const struct line_found *found = &x->parser.found;
	struct sample s;

	parse(x, record, &s);
	x->records++;
	x->lines += count_lines(record);
	x->forms[found->form]++;
	x->levels[s.log.level]++;
	x->timed += found->timed;
	x->leveled += found->leveled;
	x->wrapped += found->wrapped;
	if (found->timed) {
		x->first_us = x->first_us ? x->first_us : s.timestamp_us;
		x->last_us = s.timestamp_us;
		x->parser.clock.last_us = s.timestamp_us;
	}
	if (!x->first.record.s)
		x->first = (struct place){ offset, record };
	x->last = (struct place){ offset, record };
}

/* Call `on_record` with each record of `t`; it says whether to go on. */
static void each_record(struct explanation *x, struct text t, int64_t offset, bool learn,
			bool (*on_record)(struct explanation *x, struct text record, int64_t offset))
{
	size_t at = 0;

	while (at < t.len) {
		struct text rest = { t.s + at, t.len - at }, line = rest;
		const char *newline = memchr(rest.s, '\n', rest.len);
		bool open;

		if (!newline)
			return;
		line.len = (size_t)(newline - rest.s);
		/* Blank lines begin no record: to look for the end of each would take long. */
		rest.len = blank(line) ? line.len : multiline_record(&x->form, &x->room, rest, &open);
		if (!blank(line)) {
			if (learn && at < LEARN_BYTES)
				multiline_learn(&x->form, &x->room, rest);
			if (!on_record(x, rest, offset + (int64_t)at))
				return;
		}
		at += rest.len + 1;
	}
}

static bool note_record(struct explanation *x, struct text record, int64_t offset)
{
	note(x, record, offset);
	return true;
}

/* ---- telling ---- */

/* A log must not move the terminal's cursor, colour it or turn its text around. */
static void print_text(FILE *out, struct text t)
{
	size_t n = utf8_cut(t.s, t.len, SHOWN_MAX), hidden;
	uint32_t code;

	for (size_t i = 0; i < n; i += hidden ? hidden : 1) {
		hidden = visible_hidden(t, i, &code);
		if (t.s[i] == '\n')
			fputs("\n            ", out);
		else
			fputc(hidden || t.s[i] == '\r' ? '?' : t.s[i], out);
	}
	fputs(n < t.len ? " ...\n" : "\n", out);
}

static void print_record(struct explanation *x, const char *which, struct place at)
{
	const struct line_found *found = &x->parser.found;
	char time[RFC3339_SIZE];
	struct sample s;

	parse(x, at.record, &s);
	format_rfc3339(time, s.timestamp_us);
	fprintf(x->out, "\n%s, at byte %" PRId64 ": %s%s\n", which, at.offset, line_form_names[found->form],
		found->wrapped ? " in a container's line" : "");
	fprintf(x->out, "  time      %s\n", found->timed ? time : "none of its own: the time of arrival");
	fprintf(x->out, "  level     %s%s\n", log_level_names[s.log.level],
		found->leveled ? "" : ", since it names none");
	fputs("  logger    ", x->out);
	print_text(x->out, s.log.logger.s ? s.log.logger : TEXT("none"));
	fputs("  message   ", x->out);
	print_text(x->out, s.log.message);
	fputs("  context   ", x->out);
	print_text(x->out, s.log.context.s ? s.log.context : TEXT("none"));
}

static enum line_form most_frequent(const struct explanation *x)
{
	enum line_form most = LINE_PLAIN;

	for (enum line_form f = 0; f < LINE_FORMS; f++)
		if (x->forms[f] > x->forms[most])
			most = f;
	return most;
}

/* Unlike most: another form, or no time or level where most have one. */
static bool is_odd(const struct explanation *x)
{
	const struct line_found *found = &x->parser.found;

	return found->form != most_frequent(x) || (!found->timed && 2 * x->timed > x->records) ||
	       (!found->leveled && 2 * x->leveled > x->records);
}

static bool print_if_odd(struct explanation *x, struct text record, int64_t offset)
{
	struct sample s;

	if (record.s == x->first.record.s || record.s == x->last.record.s)
		return true;
	parse(x, record, &s);
	if (!is_odd(x))
		return true;
	print_record(x, "odd record", (struct place){ offset, record });
	return ++x->odd < ODD_MAX;
}

static void print_summary(struct explanation *x, const char *path, int64_t size, bool whole)
{
	char first[RFC3339_SIZE], last[RFC3339_SIZE];
	const char *between = "";

	fprintf(x->out, "%s: %" PRId64 " bytes%s, %" PRId64 " records of %" PRId64 " lines\n", path, size,
		whole ? "" : " (its first and last 4 MiB were read)", x->records, x->lines);
	fputs("  form      ", x->out);
	for (enum line_form f = 0; f < LINE_FORMS; f++)
		if (x->forms[f] > 0) {
			fprintf(x->out, "%s%s %" PRId64, between, line_form_names[f], x->forms[f]);
			between = ", ";
		}
	fprintf(x->out, "%s\n", x->wrapped ? "; in a container's lines" : "");
	format_rfc3339(first, x->first_us);
	format_rfc3339(last, x->last_us);
	fprintf(x->out, "  times     %" PRId64 " of %" PRId64 " records have one", x->timed, x->records);
	fprintf(x->out, x->timed ? ": %s to %s\n" : "\n", first, last);
	fprintf(x->out, "  levels    %" PRId64 " of %" PRId64 " records name one; stored as", x->leveled,
		x->records);
	for (enum log_level level = LOG_LEVELS; level-- > 0;)
		if (x->levels[level] > 0)
			fprintf(x->out, " %s %" PRId64, log_level_names[level], x->levels[level]);
	fputc('\n', x->out);
}

/* ---- the file ---- */

static int read_part(int fd, int64_t offset, size_t n, char *to, struct text *ret, struct err *e)
{
	ssize_t got;

	do
		got = pread(fd, to, n, offset);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_set(e, errno, "%s", strerror(errno));
	*ret = (struct text){ to, (size_t)got };
	return 0;
}

static int open_file(const char *path, int64_t *ret_size, struct err *e)
{
	CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s is not a regular file; name a log file", path);
	*ret_size = st.st_size;
	return TAKE_FD(fd);
}

/* The last part begins behind its first newline. */
static struct text from_next_line(struct text t, int64_t *offset)
{
	const char *newline = memchr(t.s, '\n', t.len);
	size_t n = newline ? (size_t)(newline + 1 - t.s) : t.len;

	*offset += (int64_t)n;
	return (struct text){ t.s + n, t.len - n };
}

/* The item of log_files that leads to the file. */
static const struct log_file_config *find_settings(const struct config *c, const char *path)
{
	struct stat file, st;

	if (!c || stat(path, &file) < 0)
		return NULL;
	for (size_t i = 0; i < c->n_log_files; i++) {
		CLEANUP(path_list_free) struct path_list found = { 0 };

		path_pattern_find(c->log_files[i].path, &found, NULL);
		for (size_t n = 0; n < found.n; n++)
			if (stat(found.path[n], &st) == 0 && st.st_dev == file.st_dev &&
			    st.st_ino == file.st_ino)
				return &c->log_files[i];
	}
	return NULL;
}

static void set_up(struct explanation *x, const struct log_file_config *settings)
{
	struct err e;

	x->now_us = wall_us();
	line_parser_init(&x->parser);
	multiline_room_init(&x->room);
	x->room.clock.now_us = x->now_us;
	x->parser.clock.zone = x->room.clock.zone = settings && settings->zone ? settings->zone : &x->zone;
	x->parser.clock.zones = x->room.clock.zones = &x->zones;
	if (settings) {
		x->parser.raw = x->room.raw = strcmp(settings->format, "raw") == 0;
		x->parser.warn_4xx = settings->warn_4xx;
		x->room.start = settings->start;
	}
	if (zone_load(&x->zone, "", &e) < 0 && x->out)
		fprintf(x->out, "warning: %s\n", e.msg);
}

/* The beginning of the file, and its end where that is elsewhere. */
struct parts {
	char *head, *tail;
	struct text begin, end;
	int64_t size, offset;           /* of the file; of `end` */
};

static void free_parts(struct parts *p)
{
	free(p->head);
	free(p->tail);
}

static int read_parts(const char *path, struct parts *p, struct err *e)
{
	CLEANUP(close_p) int fd = open_file(path, &p->size, e);

	p->head = malloc(PART_BYTES + 1);
	p->tail = malloc(PART_BYTES + 1);
	if (!p->head || !p->tail)
		return err_set(e, ENOMEM, "out of memory");
	if (fd < 0 || read_part(fd, 0, PART_BYTES, p->head, &p->begin, e) < 0)
		return -e->code;
	if (p->size <= PART_BYTES)
		return 0;
	p->offset = p->size > 2 * PART_BYTES ? p->size - PART_BYTES : PART_BYTES;
	if (read_part(fd, p->offset, PART_BYTES, p->tail, &p->end, e) < 0)
		return -e->code;
	p->end = from_next_line(p->end, &p->offset);
	return 0;
}

int explain(const char *path, const struct config *c, FILE *out, struct err *e)
{
	CLEANUP(free_explanation) struct explanation x = { .out = out };
	CLEANUP(free_parts) struct parts p = { 0 };
	const struct log_file_config *settings = find_settings(c, path);

	if (read_parts(path, &p, e) < 0)
		return -e->code;
	set_up(&x, settings);
	each_record(&x, p.begin, 0, true, note_record);
	each_record(&x, p.end, p.offset, false, note_record);
	if (x.records == 0) {
		fprintf(out, "%s: %" PRId64 " bytes, no whole line yet\n", path, p.size);
		return 0;
	}
	print_summary(&x, path, p.size, p.size <= 2 * PART_BYTES);
	if (c)
		fprintf(out, "  settings  %s%s\n",
			settings ? "of log_files item " : "the defaults: no item of log_files leads "
			"to this file", settings ? settings->path : "");
	print_record(&x, "first record", x.first);
	each_record(&x, p.begin, 0, false, print_if_odd);
	if (x.last.record.s != x.first.record.s)
		print_record(&x, "last record", x.last);
	return 0;
}

/* One time is enough. */
static bool note_until_timed(struct explanation *x, struct text record, int64_t offset)
{
	note(x, record, offset);
	return x->timed == 0 && x->wrapped == 0;
}

int explain_has_times(const char *path, const struct log_file_config *settings, struct err *e)
{
	CLEANUP(free_explanation) struct explanation x = { .out = NULL };
	CLEANUP(free_parts) struct parts p = { 0 };

	if (read_parts(path, &p, e) < 0)
		return -e->code;
	set_up(&x, settings);
	if (x.parser.raw)
		return 1;
	each_record(&x, p.begin, 0, true, note_until_timed);
	if (x.timed == 0 && x.wrapped == 0)
		each_record(&x, p.end, p.offset, false, note_until_timed);
	return x.records == 0 || x.timed > 0 || x.wrapped > 0;
}

void explain_formats(FILE *out)
{
	log_key_print(out);
	fputc('\n', out);
	log_level_print(out);
	fputc('\n', out);
	log_time_print(out);
}
