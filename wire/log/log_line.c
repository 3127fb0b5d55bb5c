#include "log_line.h"

#include <string.h>

#include "common/utf8.h"
#include "wire/json_lenient.h"
#include "wire/json_scan.h"
#include "chars.h"
#include "log_found.h"
#include "log_wrapper.h"

enum { TEXT_MAX = 4 * LINE_BYTES_MAX };

const char *const line_form_names[LINE_FORMS] = {
	[LINE_PLAIN] = "plain text",     [LINE_PREFIXED] = "text behind a prefix",
	[LINE_ACCESS] = "access log",    [LINE_PAIRS] = "key=value pairs",
	[LINE_CSV] = "PostgreSQL's CSV", [LINE_JSON] = "JSON",
};

/* Does every member stand where logcore puts it? */
static bool is_logcores(const struct members *m)
{
	return m->direct && m->n > SLOT_MESSAGE;
}

/* The text with what cannot be stored replaced, in `room`. TEXT_MAX is room enough: a byte grows to three
 * at most, a number by its quotes. */
static struct text repair(struct text t, bool json, struct buf *room)
{
	buf_reset(room);
	if (!json_repair(t, json, room))
		return TEXT("(a line that could not be repaired: out of memory)");
	return (struct text){ room->data, room->len };
}

/* Scan the line, and once more repaired where it is JSON that can't be stored. */
static enum object_verdict scan_line(struct line_parser *p, struct text *line, struct members *m)
{
	enum object_verdict verdict = object_scan(*line, m);

	if (verdict != OBJECT_UNSTORABLE)
		return verdict;
	*line = repair(*line, true, &p->repaired);
	return object_scan(*line, m);
}

/* The same for what is not quite JSON. */
static bool scan_leniently(struct line_parser *p, struct text *line, struct members *m)
{
	struct text t = *line;

	while (t.len > 0 && strchr(" \t", t.s[t.len - 1]))
		t.len--;
	if (t.len < 2 || t.s[0] != '{' || t.s[t.len - 1] != '}')
		return false;
	buf_reset(&p->lenient);
	if (!json_lenient(t, &p->lenient))
		return false;
	*line = (struct text){ p->lenient.data, p->lenient.len };
	if (!utf8_is_clean(*line))      /* "\xff" of one character set or the other */
		*line = repair(*line, true, &p->repaired);
	return scan_line(p, line, m) == OBJECT_GOOD;
}

/* False: it is no object, or beyond the limits. */
static bool from_object(struct line_parser *p, struct text line, int depth, struct found *f)
{
	struct members *m = &p->members;
	struct text stood = line;
	bool lenient = false;

	if (scan_line(p, &line, m) != OBJECT_GOOD) {
		line = stood;
		if (!scan_leniently(p, &line, m))
			return false;
		lenient = true;
	}
	if (!is_logcores(m)) {
		object_settle(m);
		/* In a text that was read so far, braces alone are no log line. */
		if (depth > 0 && !m->slot[SLOT_MESSAGE].value.s && !m->slot[SLOT_LEVEL].value.s)
			return false;
	}
	if (lenient)
		found_stood(f, found_with_prefix(f, stood));
	found_members(p, m, line, f);
	f->form = LINE_JSON;
	return true;
}

void found_inside(struct line_parser *p, struct text line, int depth, struct found *f)
{
	if (line.len > 0 && line.s[0] == '{' && from_object(p, line, depth, f))
		return;
	if (line.len > 0 && line.s[0] == '{' && f->message.s == line.s)
		return;                 /* behind a prefix that was read already */
	found_text(p, line, depth, f);
}

static void add_wrapper(struct line_parser *p, const struct log_wrapper *w, bool timed)
{
	struct member attrs = { .key = TEXT("attrs"), .value = w->attrs, .type = JSON_OBJECT };

	log_context_text(&p->context, TEXT("stream"), w->stream);
	if (!timed)
		log_context_text(&p->context, TEXT("time"), w->time);
	if (w->attrs.s && w->unstorable)
		log_context_text(&p->context, attrs.key, attrs.value);
	else if (w->attrs.s)
		log_context_member(&p->context, &attrs);
}

/* What is inside the container's wrapper of each line, put together. False: the first line is in none. */
static bool from_wrapper(struct line_parser *p, struct text record, struct found *f)
{
	struct log_wrapper w;

	if (!log_wrapper_likely(record))
		return false;
	buf_reset(&p->inside);
	for (struct text rest = record; rest.len > 0;) {
		struct text line = first_line(rest);

		if (!log_wrapper_open(line, &p->message, &w)) {
			if (rest.s == record.s)
				return false;
			w = (struct log_wrapper){ .inside = line };
		}
		if (rest.s == record.s) {
			f->timed = log_time_is(&p->clock, w.time, &f->us);
			add_wrapper(p, &w, f->timed);
		}
		if (!buf_add(&p->inside, w.inside.s, w.inside.len) ||
		    (!w.partial && !buf_addc(&p->inside, '\n')))
			return false;
		rest = text_after(rest, line.len < rest.len ? line.len + 1 : line.len);
	}
	if (p->inside.len > 0 && p->inside.data[p->inside.len - 1] == '\n')
		p->inside.len--;
	f->wrapped = true;
	found_inside(p, (struct text){ p->inside.data, p->inside.len }, 1, f);
	return true;
}

static struct text without_ends(struct text raw)
{
	while (raw.len > 0 && raw.s[raw.len - 1] == '\r')
		raw.len--;
	if (raw.len >= 3 && memcmp(raw.s, "\xef\xbb\xbf", 3) == 0)      /* byte order mark */
		raw = (struct text){ raw.s + 3, raw.len - 3 };
	return raw;
}

void line_parse(struct line_parser *p, struct text raw, int64_t now_us, const char *mark, struct sample *s)
{
	struct found f = { .us = now_us, .level = LEVEL_INFO, .message = { "", 0 } };

	s->kind = SAMPLE_LOG;
	s->log.raw = raw;
	raw = without_ends(raw);
	if (!utf8_is_clean(raw))
		raw = repair(raw, false, &p->clean);
	p->clock.now_us = now_us;
	log_context_begin(&p->context);
	if (p->raw)
		f.message = raw;
	else if (!from_wrapper(p, raw, &f) && !from_object(p, raw, 0, &f))
		found_text(p, raw, 0, &f);
	/* Behind the line's own members: the names are ours. */
	if (f.stood.s)
		log_context_mark(&p->context, TEXT("_line"), f.stood);
	else if (f.prefix.len > 0)
		log_context_mark(&p->context, TEXT("_prefix"), f.prefix);
	if (mark)
		log_context_json(&p->context, mark);
	s->timestamp_us = f.us;
	s->log.level = f.level;
	s->log.logger = f.logger;
	s->log.message = f.message;
	s->log.context = log_context_end(&p->context);
	p->found = (struct line_found){ f.form, f.wrapped, f.timed, f.leveled };
}

void line_parser_init(struct line_parser *p)
{
	*p = (struct line_parser){ .clean = BUF(TEXT_MAX),
				   .repaired = BUF(TEXT_MAX),
				   .lenient = BUF(TEXT_MAX),
				   .plain = BUF(TEXT_MAX),
				   .inside = BUF(TEXT_MAX),
				   .message = BUF(TEXT_MAX),
				   .logger = BUF(TEXT_MAX) };
	log_context_init(&p->context, TEXT_MAX);
}

void line_parser_free(struct line_parser *p)
{
	buf_free(&p->clean);
	buf_free(&p->repaired);
	buf_free(&p->lenient);
	buf_free(&p->plain);
	buf_free(&p->inside);
	buf_free(&p->message);
	buf_free(&p->logger);
	log_context_free(&p->context);
}
