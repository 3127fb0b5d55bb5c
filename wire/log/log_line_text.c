#include "log_found.h"

#include "common/parse.h"
#include "chars.h"
#include "wire/json_scan.h"
#include "log_columns.h"
#include "log_fields.h"
#include "log_plain.h"
#include "log_trace.h"

enum { STATUS_WARNING = 400, PAUSE_US = 10 * 1000 * 1000 };

static void add_fields(struct line_parser *p, const struct log_text *t)
{
	for (unsigned i = 0; i < t->n; i++)
		log_context_field(&p->context, &t->field[i]);
}

static void take_columns(const struct log_text *t, struct found *f)
{
	if (t->timed) {
		f->timed = true;
		f->us = t->us;
	}
	if (t->leveled) {
		f->leveled = true;
		f->level = t->level;
	}
	if (t->logger.s)
		f->logger = t->logger;
}

/* The message of a line that is all fields, without escapes and doubled quotes. */
static struct text field_text(struct line_parser *p, const struct log_text_field *x)
{
	struct text t = x->value;

	if (x->kind == FIELD_TEXT || t.len == 0)
		return t;
	buf_reset(&p->message);
	if (x->kind == FIELD_JSON)
		return t.s[0] == '"' && json_unescape((struct text){ t.s + 1, t.len - 2 }, &p->message)
			? (struct text){ p->message.data, p->message.len } : t;
	for (size_t i = 0; i < t.len; i++) {
		if (!buf_addc(&p->message, t.s[i]))
			return t;
		i += t.s[i] == '"';
	}
	return (struct text){ p->message.data, p->message.len };
}

/* "web-1  | " of docker compose, "0|shop  | " of PM2: the bytes that it takes; 0: there is none. */
static size_t compose_prefix(struct text t, struct text *ret_name)
{
	size_t n, pm2 = text_span(t, is_digit);

	pm2 = pm2 > 0 && pm2 < t.len && t.s[pm2] == '|' ? pm2 + 1 : 0;
	for (n = pm2; n < t.len && t.s[n] != ' ' && t.s[n] != '|';)
		n++;
	*ret_name = (struct text){ t.s + pm2, n - pm2 };
	if (n == pm2 || n == t.len || t.s[n] != ' ' ||
	    (pm2 == 0 && (!memchr(t.s, '-', n) || !is_digit(t.s[n - 1]))))
		return 0;
	while (n < t.len && t.s[n] == ' ')
		n++;
	return n + 1 < t.len && t.s[n] == '|' && t.s[n + 1] == ' ' ? n + 2 : 0;
}

/* java.util.logging puts the level on the second line, and its class and method on the first. */
static void level_of_second_line(struct line_parser *p, struct text record, size_t first, struct log_text *t)
{
	struct text name = { record.s + t->prefix, first - t->prefix };
	struct log_text second LOG_TEXT_UNSET;

	if (t->leveled || first + 1 >= record.len || !t->timed)
		return;
	if (!log_text_read(&p->clock, first_line(text_after(record, first + 1)), &second) ||
	    !second.leveled || second.timed)
		return;
	t->leveled = true;
	t->level = second.level;
	if (!t->logger.s && name.len > 0 && !memchr(name.s, ':', name.len)) {
		const char *space = memchr(name.s, ' ', name.len);

		t->logger = space ? (struct text){ name.s, (size_t)(space - name.s) } : name;
		t->prefix = first + 1 + second.prefix;
	}
}

/* What opened at the end of the prefix and closes at the end of the message is none of it. */
static struct text without_brackets(struct text record, size_t prefix, struct text rest)
{
	static const char *const pairs[][2] = { { "[[", "]]" }, { "<", ">" } };

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		size_t n = strlen(pairs[i][0]);

		if (prefix >= n && rest.len > n && memcmp(record.s + prefix - n, pairs[i][0], n) == 0 &&
		    memcmp(rest.s + rest.len - n, pairs[i][1], n) == 0) {
			rest.len -= n;
			return rest;
		}
	}
	return rest;
}

/* An access log's columns behind a time, or behind a program's name. */
static bool columns(struct log_clock *c, struct text line, struct log_text *t)
{
	size_t time = t->time.s ? (size_t)(t->time.s + t->time.len - line.s) : 0;

	if (t->time.s > line.s + 1) {   /* what stands in front of a time says more in an access log */
		struct log_text found LOG_TEXT_UNSET;

		if (log_fields_access(c, line, t, &found) ||
		    (log_text_clear(&found), log_columns(c, line, false, &found))) {
			log_text_copy(t, &found);
			return true;
		}
	}
	while (time < line.len && strchr("]: ", line.s[time]))
		time++;
	/* Werkzeug behind Python's prefix */
	if (!t->timed && memchr(line.s + t->prefix, '[', line.len - t->prefix)) {
		struct log_text found LOG_TEXT_UNSET;

		if (!log_fields_access(c, text_after(line, t->prefix), NULL, &found))
			return false;
		for (unsigned i = 0; i < found.n; i++)
			log_text_add(t, found.field[i].name, found.field[i].value);
		t->timed = true;
		t->us = found.us;
		return true;
	}
	if (!t->timed || (t->leveled && (t->prefix == line.len || is_letter(line.s[t->prefix]) ||
					 !memchr(line.s + t->prefix, '"', line.len - t->prefix))))
		return false;
	if (log_columns(c, text_after(line, t->prefix), true, t) ||
	    log_columns(c, text_after(line, time), true, t))
		return true;
	return false;
}

/* Which of the forms the line has; what `t` holds then. False: none. */
static bool take_apart(struct line_parser *p, struct text record, struct text line, struct log_text *t,
		       enum line_form *ret)
{
	if (log_memo_read(p->memo, &p->clock, line, t)) {
		*ret = LINE_PREFIXED;
		if (t->prefix < line.len && line.s[t->prefix] == ',') {
			struct log_text found LOG_TEXT_UNSET;

			if (log_fields_csv(&p->clock, record, t, &found)) {
				log_text_copy(t, &found);
				*ret = LINE_CSV;
				return true;
			}
		}
		if (columns(&p->clock, line, t)) {
			*ret = LINE_ACCESS;
			return true;
		}
		if (memchr(line.s + t->prefix, '=', line.len - t->prefix)) {
			struct log_text pairs LOG_TEXT_UNSET;

			log_text_copy(&pairs, t);
			if (log_fields_pairs(&p->clock, line, t->prefix, &pairs) && pairs.message.value.s)
				log_text_copy(t, &pairs);
		}
		return true;
	}
	*ret = LINE_ACCESS;
	if (log_fields_access(&p->clock, line, NULL, t))
		return true;
	log_text_clear(t);
	if (log_columns(&p->clock, line, false, t))
		return true;
	*ret = LINE_PAIRS;
	log_text_clear(t);
	if (!memchr(line.s, '=', line.len))
		return false;
	if (log_fields_pairs(&p->clock, line, 0, t))
		return true;
	*ret = LINE_PREFIXED;
	if (log_fields_audit(&p->clock, line, t))
		return true;
	*ret = LINE_PAIRS;
	log_text_clear(t);    /* a value may go on over the next lines */
	return line.len < record.len && log_fields_pairs(&p->clock, record, 0, t);
}

static void warn_of_status(struct line_parser *p, const struct log_text *t, struct found *f)
{
	uint64_t code;

	for (unsigned i = 0; p->warn_4xx && i < t->n; i++)
		if (text_eq(t->field[i].name, TEXT("status")) && parse_u64(t->field[i].value, &code) &&
		    code >= STATUS_WARNING && f->level == LEVEL_INFO)
			f->level = LEVEL_WARNING;
}

/* A stack trace has no time: it is that of the line before, unless a pause lies between. */
static void time_of_line_before(const struct log_clock *c, struct found *f)
{
	if (!f->timed && c->last_us > 0 && c->last_at_us > 0 && c->now_us - c->last_at_us < PAUSE_US)
		f->us = c->last_us;
}

void found_text(struct line_parser *p, struct text record, int depth, struct found *f)
{
	struct text plain = log_plain(record, &p->plain), line = first_line(plain), name, rest;
	struct log_text t LOG_TEXT_UNSET;
	bool changed = plain.len != record.len;
	enum log_level level = f->level;
	size_t n;

	f->message = plain;
	if (changed)
		found_stood(f, record);
	n = depth == 0 ? compose_prefix(line, &name) : 0;
	if (n > 0) {
		log_context_text(&p->context, TEXT("container"), name);
		found_prefix(f, plain, n);
		found_inside(p, text_after(plain, n), depth + 1, f);
		return;
	}
	if (!take_apart(p, plain, line, &t, &f->form)) {
		f->form = LINE_PLAIN;
		if (log_trace_begins(line, &level) != TRACE_NONE) {
			f->leveled = true;
			f->level = level;
			time_of_line_before(&p->clock, f);
		}
		return;
	}
	level_of_second_line(p, plain, line.len, &t);
	take_columns(&t, f);
	if (!t.leveled && log_trace_begins(text_after(line, t.prefix), &level) != TRACE_NONE) {
		f->leveled = true;
		f->level = level;
	}
	warn_of_status(p, &t, f);
	add_fields(p, &t);
	if (t.message.value.s) {
		found_stood(f, found_with_prefix(f, record));
		f->message = field_text(p, &t.message);
		return;
	}
	/* The message may be on the next line. */
	while (t.prefix < plain.len && t.prefix > 0 && strchr(" \t\n", plain.s[t.prefix]))
		t.prefix++;
	rest = text_after(plain, t.prefix);
	if (rest.len == 0)
		return;                 /* a prefix and nothing behind it is the message */
	found_prefix(f, plain, t.prefix);
	f->message = without_brackets(plain, t.prefix, rest);
	if (f->message.len < rest.len)
		found_stood(f, found_with_prefix(f, record));
	if (depth < DEPTH_MAX && rest.len > 1 && rest.s[0] == '{')
		found_inside(p, rest, depth + 1, f);
}
