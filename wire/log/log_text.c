#include "log_text.h"

#include <string.h>

#include "common/parse.h"
#include "log_level.h"
#include "log_reading.h"

enum { GROUP_MAX = 100 };

/* ---- what was found ---- */

void log_text_add(struct log_text *t, struct text name, struct text value)
{
	enum { NUMBER_BYTES = 16 };
	int64_t n;

	value = text_trim(value);
	for (unsigned i = 0; i < t->n; i++)
		if (text_eq(t->field[i].name, name))
			return;
	if (value.len == 0 || t->n == LOG_TEXT_FIELDS_MAX)
		return;
	t->field[t->n++] = (struct log_text_field){
		.name = name,
		.value = value,
		.kind = value.len < NUMBER_BYTES && parse_i64(value, &n) && value.s[0] != '+' &&
			(value.len == 1 || value.s[0] != '0') && value.s[0] != '-' ? FIELD_JSON : FIELD_TEXT,
	};
}

void reading_add(struct reading *r, const char *name, struct text value)
{
	log_text_add(r->found, text_of(name), value);
}

void reading_level(struct reading *r, enum log_level level, size_t len)
{
	r->found->leveled = true;
	r->found->level = level;
	r->rest = text_after(r->rest, len);
}

void reading_logger(struct reading *r, struct text name)
{
	while (name.len > 0 && name.s[name.len - 1] == ':')
		name.len--;
	if (name.len > 0) {
		r->found->logger = name;
		r->named = true;
	}
}

static void add_name(struct reading *r, struct text name)
{
	if (name.len > 0 && r->names < NAMES_MAX)
		r->name[r->names++] = name;
}

/* Letters and digits only, as in "info" and "debug1". */
size_t word_length(struct text t)
{
	return is_letter(text_first(t)) ? text_span(t, is_word) : 0;
}

bool is_upper_text(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (is_lower(t.s[i]))
			return false;
	return true;
}

bool is_lower_text(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (is_upper(t.s[i]))
			return false;
	return true;
}

/* ---- what stands in brackets ---- */

static void skip_signs(struct reading *r);

/* "pid 5603:tid 5603", "client 192.0.2.1:5", "#30088", "0x7f", "12345", "worker-1". */
static void name_in_group(struct reading *r, struct text t)
{
	t = text_trim(t);
	if (text_begins(t, "pid ") || text_begins(t, "pid:")) {
		size_t n = text_span(text_after(t, 4), is_digit);

		reading_add(r, "pid", (struct text){ t.s + 4, n });
		if (text_begins(text_after(t, 4 + n), ":tid "))
			reading_add(r, "tid", text_after(t, n + 9));
	} else if (text_begins(t, "client ")) {
		reading_add(r, "client", text_after(t, 7));
	} else if (text_first(t) == '#') {
		reading_add(r, "pid", text_after(t, 1));
	} else if (text_span(t, is_digit) == t.len) {
		bool first_one = true;

		for (unsigned i = 0; i < r->found->n; i++)
			first_one &= !text_eq(r->found->field[i].name, TEXT("pid"));
		reading_add(r, first_one ? "pid" : "tid", t);
	} else if (text_begins(t, "0x")) {
		reading_add(r, "thread", t);
	} else {
		add_name(r, t);
	}
}

/* The level behind "mpm_event:" and "proxy:", before "/MainProcess". */
static bool split_level(struct reading *r, struct text t)
{
	enum log_level level;

	for (size_t i = 1; i + 1 < t.len; i++) {
		struct text before = { t.s, i }, behind = text_after(t, i + 1);

		if (t.s[i] != ':' && t.s[i] != '/')
			continue;
		if (log_level_word(behind, &level, NULL)) {
			add_name(r, before);
		} else if (log_level_word(before, &level, NULL) && is_upper_text(before)) {
			add_name(r, behind);
		} else {
			continue;
		}
		r->found->leveled = true;
		r->found->level = level;
		return true;
	}
	return false;
}

static void read_group(struct reading *r, struct text inside)
{
	struct reading in = { .clock = r->clock, .found = r->found, .rest = text_trim(inside), .in_group = true,
			      .begin = NULL, .syslog = false, .names = r->names };
	enum log_level level;

	memcpy(in.name, r->name, sizeof in.name);
	if (!in.found->leveled && log_level_word(in.rest, &level, NULL)) {
		in.found->leveled = true;
		in.found->level = level;
		return;
	}
	if (!in.found->leveled && in.rest.len > 3 && in.rest.s[1] == ' ' && is_digit(in.rest.s[2]) &&
	    log_level_letter(in.rest.s[0], &level)) {       /* "[W 2026-11-30 12:00:01 App]" */
		struct log_time time;

		if (log_time_begins(in.clock, text_after(in.rest, 2), &time))
			reading_level(&in, level, 2);
	}
	while (take_time(&in) || (in.found->timed && take_level(&in))) {
		skip_signs(&in);
		while (text_first(in.rest) && strchr(":,/", text_first(in.rest)))
			in.rest = text_trim(text_after(in.rest, 1));
	}
	in.rest = text_trim(in.rest);
	if (in.rest.len > 0 && !(!in.found->leveled && split_level(&in, in.rest)))
		name_in_group(&in, in.rest);
	r->names = in.names;
	memcpy(r->name, in.name, sizeof in.name);
}

static bool take_group(struct reading *r)
{
	static const char pairs[][2] = { { '[', ']' }, { '(', ')' }, { '{', '}' } };

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		const char *end;
		size_t max = r->rest.len < GROUP_MAX ? r->rest.len : GROUP_MAX;

		if (text_first(r->rest) != pairs[i][0])
			continue;
		end = memchr(r->rest.s, pairs[i][1], max);
		if (!end || (pairs[i][0] == '(' && !r->found->leveled && r->rest.s == r->begin))
			return false;
		/* Airflow's place; any other braces are an object. */
		if (pairs[i][0] == '{' && !memmem(r->rest.s, (size_t)(end - r->rest.s), ".py:", 4))
			return false;
		/* Glued to a word, brackets belong to the message. */
		if (end + 1 < r->rest.s + r->rest.len && is_word(end[1]))
			return false;
		/* Behind a logger, brackets belong to the message. */
		if (r->named && r->found->leveled)
			return false;
		read_group(r, (struct text){ r->rest.s + 1, (size_t)(end - r->rest.s) - 1 });
		r->rest = text_after(r->rest, (size_t)(end + 1 - r->rest.s));
		return true;
	}
	return false;
}

/* ---- the whole ---- */

/* Signs that separate pieces. What stands at the very beginning is no sign of a prefix. */
static void skip_signs(struct reading *r)
{
	static const char *const signs[] = { "|", "---", "--", "-", "**", "\xe2\x80\xba", "\xc2\xbb", "~", NULL };

	for (bool more = true; more;) {
		more = false;
		if (is_blank(text_first(r->rest))) {
			r->rest = text_after(r->rest, 1);
			more = true;
			continue;
		}
		for (const char *const *s = signs; *s && !more; s++) {
			size_t n = strlen(*s);

			if (text_begins(r->rest, *s) && (r->rest.len == n || is_blank(r->rest.s[n]) || (*s)[0] == '|' ||
						    ((*s)[0] == '*' && r->rest.s[n] == ':'))) {
				r->rest = text_after(r->rest, n);
				more = true;
			}
		}
		if (!more && r->rest.len > 1 && strchr(":>,", text_first(r->rest)) && is_blank(r->rest.s[1]) && r->rest.s != r->begin) {
			r->rest = text_after(r->rest, 1);
			more = true;
		}
		if (!more && r->rest.len == 1 && text_first(r->rest) == ':') {
			r->rest = text_after(r->rest, 1);
		}
	}
}

/* A picture in front of a level, as in "✖  error     failed". */
static void skip_picture(struct reading *r)
{
	struct text t = r->rest;
	enum log_level level;
	size_t n = 0, w;

	while (n < t.len && n < 8 && (unsigned char)t.s[n] >= 0x80)
		n++;
	if (n == 0 || r->found->leveled || n == t.len || t.s[n] != ' ')
		return;
	t = text_trim(text_after(t, n));
	w = word_length(t);
	if (w > 0 && w + 1 < t.len && t.s[w] == ' ' && t.s[w + 1] == ' ' &&
	    log_level_word((struct text){ t.s, w }, &level, NULL)) {
		r->found->leveled = true;
		r->found->level = level;
		r->rest = text_after(t, w);
	}
}

static bool take_piece(struct reading *r)
{
	static bool (*const pieces[])(struct reading *) = {
		take_priority, take_process, take_letter, take_time,  take_epoch,  take_header_5424,       take_program, take_python_name,
		take_report,   take_sign,   take_colons, take_level,             take_group,   take_number,
		take_channel_and_level,     take_name_and_level,                 take_caller,  take_logger,
	};

	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
		if (pieces[i](r))
			return true;
	return false;
}

/* A logger that stood outside brackets makes those within them threads; else the last one is the logger. */
static void decide_names(struct reading *r)
{
	unsigned threads = r->names;

	if (!r->found->logger.s && r->names > 0)
		r->found->logger = r->name[--threads];
	for (unsigned i = 0; i < threads; i++)
		reading_add(r, "thread", r->name[i]);
}

bool log_text_read(struct log_clock *c, struct text line, struct log_text *ret)
{
	struct reading r = { .clock = c, .found = ret, .rest = line, .begin = line.s };

	ret->timed = ret->leveled = false;
	ret->logger = ret->time = ret->message.value = (struct text){ NULL, 0 };
	ret->prefix = ret->n = 0;
	while (is_blank(text_first(r.rest)))
		r.rest = text_after(r.rest, 1);
	r.indented = r.rest.s != line.s;
	r.begin = r.rest.s;
	if (text_begins(r.rest, "** "))
		r.rest = text_after(r.rest, 3);
	for (unsigned i = 0; i < LOG_TEXT_PIECES_MAX && r.rest.len > 0; i++) {
		skip_picture(&r);
		if (!take_piece(&r))
			break;
		skip_signs(&r);
	}
	if (!ret->timed && !ret->leveled) {
		ret->n = 0;
		ret->logger = (struct text){ NULL, 0 };
		return false;
	}
	decide_names(&r);
	ret->prefix = (size_t)(r.rest.s - line.s);
	return true;
}
