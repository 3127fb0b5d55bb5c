#include "log_line.h"

#include <string.h>

#include "common/clock.h"
#include "common/parse.h"
#include "common/utf8.h"
#include "chars.h"
#include "wire/json_lenient.h"
#include "wire/json_scan.h"
#include "log_fields.h"
#include "log_level.h"
#include "log_plain.h"
#include "log_trace.h"
#include "log_wrapper.h"

enum { TEXT_MAX = 4 * LINE_BYTES_MAX, DEPTH_MAX = 2, STATUS_WARNING = 400 };

const char *const line_form_names[LINE_FORMS] = {
	[LINE_PLAIN] = "plain text",       [LINE_PREFIXED] = "text behind a prefix", [LINE_ACCESS] = "access log",
	[LINE_PAIRS] = "key=value pairs",  [LINE_CSV] = "PostgreSQL's CSV",          [LINE_JSON] = "JSON",
};

/* What is known of the row so far: a wrapper says something, what it holds says more. */
struct found {
	enum line_form form;
	bool wrapped, timed, leveled;
	int64_t us;
	enum log_level level;
	struct text logger, message;
	struct text prefix;             /* what stands in front of the message */
	struct text stood;              /* the line as it stood, where a prefix and the message are not all of it */
};

static void read_inside(struct line_parser *p, struct text line, int depth, struct found *f);

/* ---- an object's members to columns ---- */

/* A string's characters; they stay where they are unless it has escapes. */
static struct text string_text(const struct member *x, struct buf *room)
{
	struct text inside = { x->value.s + 1, x->value.len - 2 };

	if (!x->escapes)
		return inside;
	buf_reset(room);
	if (!json_unescape(inside, room))
		return inside;
	return (struct text){ room->data, room->len };
}

/* Six digits; false: they are not. */
static inline bool microseconds(const char *s, int64_t *ret)
{
	int v = 0;

	for (int i = 0; i < 6; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (s[i] - '0');
	}
	*ret = v;
	return true;
}

/* Lines of one second come one after the other: as logcore writes it, it is parsed once. */
static inline bool as_logcore_writes(struct line_parser *p, struct text t, int64_t *ret_us)
{
	int64_t us;

	/* Not a leap second: that is put into the one before. */
	if (t.len != sizeof "2026-11-21T02:39:14.123456Z" - 1 || t.s[LINE_SECOND] != '.' || t.s[t.len - 1] != 'Z' ||
	    t.s[LINE_SECOND - 2] == '6' || !microseconds(t.s + LINE_SECOND + 1, &us))
		return false;
	if (memcmp(t.s, p->second, LINE_SECOND) != 0) {
		if (!log_time_is(&p->clock, t, ret_us))
			return false;
		memcpy(p->second, t.s, LINE_SECOND);
		p->second_us = *ret_us - us;
	}
	*ret_us = p->second_us + us;
	return true;
}

static bool time_of(struct line_parser *p, const struct member *x, int64_t *ret_us, bool *ret_zoned)
{
	struct text t = x->value;
	struct log_time time;

	*ret_zoned = true;
	if (x->type == JSON_NUMBER)
		return log_time_epoch(&p->clock, t, ret_us);
	t = (struct text){ t.s + 1, t.len - 2 };
	if (as_logcore_writes(p, t, ret_us))
		return true;
	if (!log_time_begins(&p->clock, t, &time) || time.len != t.len)
		return log_time_epoch(&p->clock, t, ret_us);
	*ret_us = time.us;
	*ret_zoned = time.zoned;
	return true;
}

/* *ret_more: the word says more than the level that it becomes, as "notice" does. */
static bool level_of(const struct members *m, const struct member *x, enum log_level *ret, bool *ret_more)
{
	enum log_level_family family = x->row->family;
	enum log_level_kind kind;
	struct text t = x->value;

	*ret_more = false;
	if (x->type == JSON_STRING) {
		t = (struct text){ t.s + 1, t.len - 2 };
		if (log_level_word(t, ret, &kind)) {
			*ret_more = kind != LEVEL_PLAIN;
			return true;
		}
		if (text_eq(x->key, TEXT("s")))         /* MongoDB: "I", "D2" */
			return t.len >= 1 && t.len <= 2 && log_level_letter(t.s[0], ret);
	}
	if (family == LEVELS_ANY && object_find(m, TEXT("reqId")) && object_find(m, TEXT("remoteAddr")))
		family = LEVELS_NEXTCLOUD;
	return log_level_number(t, family, ret);
}

static void take_time(struct line_parser *p, struct members *m, struct found *f)
{
	const struct member *x = &m->slot[SLOT_TIMESTAMP];
	bool zoned;

	int64_t us;

	for (; x->value.s; object_next(m, SLOT_TIMESTAMP))
		if (time_of(p, x, &us, &zoned)) {
			/* A wrapper's time of the same second is the finer one. */
			if (!f->timed || us % US_PER_S != 0 || f->us / US_PER_S != us / US_PER_S)
				f->us = us;
			f->timed = true;
			/* What it became depends on more than the text: the text stays. */
			if (!zoned)
				object_add_extra(m, x);
			return;
		}
}

static void take_level(struct members *m, struct found *f)
{
	const struct member *x = &m->slot[SLOT_LEVEL];
	bool more;

	for (; x->value.s; object_next(m, SLOT_LEVEL))
		if (level_of(m, x, &f->level, &more)) {
			f->leveled = true;
			if (more)
				object_add_extra(m, x);
			return;
		}
}

/* rsyslog: "shop[7695]:" */
static struct text without_tag(struct text name)
{
	const char *bracket = memchr(name.s, '[', name.len);

	if (bracket)
		name.len = (size_t)(bracket - name.s);
	while (name.len > 0 && name.s[name.len - 1] == ':')
		name.len--;
	return name;
}

static void take_logger(struct line_parser *p, struct members *m, struct found *f)
{
	const struct member *x = &m->slot[SLOT_LOGGER];

	if (!x->value.s)
		return;
	f->logger = string_text(x, &p->logger);
	if (x->row->rank > 0 && text_eq(x->key, TEXT("syslogtag"))) {
		f->logger = without_tag(f->logger);
		object_add_extra(m, x);
	}
}

static bool add_members(struct line_parser *p, const struct members *m)
{
	const struct member *c = &m->slot[SLOT_CONTEXT];
	bool ok = true;

	p->context.clash |= m->repeated;
	for (size_t i = 0; i < m->n_extra; i++)
		ok = ok && log_context_member(&p->context, &m->extra[i]);
	if (c->value.s)
		ok = ok && (c->type == JSON_OBJECT ? log_context_object(&p->context, c) : log_context_member(&p->context, c));
	return ok;
}

static void from_members(struct line_parser *p, struct members *m, struct text line, struct found *f)
{
	const struct member *x = &m->slot[SLOT_MESSAGE];

	take_time(p, m, f);
	take_level(m, f);
	take_logger(p, m, f);
	f->message = !x->value.s ? line : x->type == JSON_STRING ? string_text(x, &p->message) : x->value;
	add_members(p, m);
}

/* Does every member stand where logcore puts it? */
static bool is_logcores(const struct members *m)
{
	return m->direct && m->n > SLOT_MESSAGE;
}

/* ---- text ---- */

static struct text first_line(struct text t)
{
	const char *newline = memchr(t.s, '\n', t.len);

	return newline ? (struct text){ t.s, (size_t)(newline - t.s) } : t;
}

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

/* The message of a line that is all fields; its quotes, escaped or written twice, become what they stand for. */
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

/* "web-1  | " of docker compose: the bytes that it takes; 0: there is none. */
static size_t compose_prefix(struct text t, struct text *ret_name)
{
	size_t n = 0;

	while (n < t.len && t.s[n] != ' ' && t.s[n] != '|')
		n++;
	*ret_name = (struct text){ t.s, n };
	if (n == 0 || n == t.len || t.s[n] != ' ' || !memchr(t.s, '-', n) || t.s[n - 1] < '0' || t.s[n - 1] > '9')
		return 0;
	while (n < t.len && t.s[n] == ' ')
		n++;
	return n + 1 < t.len && t.s[n] == '|' && t.s[n + 1] == ' ' ? n + 2 : 0;
}

/* java.util.logging puts the level on the second line. */
static void level_of_second_line(struct line_parser *p, struct text record, size_t first, struct found *f)
{
	struct log_text second;

	if (f->leveled || first + 1 >= record.len)
		return;
	if (log_text_read(&p->clock, first_line(text_after(record, first + 1)), &second) && second.leveled && !second.timed) {
		f->leveled = true;
		f->level = second.level;
	}
}

/* Which of the forms the line has; what `t` holds then. False: none. */
static bool take_apart(struct line_parser *p, struct text record, struct text line, struct log_text *t,
		       enum line_form *ret)
{
	if (log_text_read(&p->clock, line, t)) {
		*ret = LINE_PREFIXED;
		if (t->prefix < line.len && line.s[t->prefix] == ',' && log_fields_csv(&p->clock, record, t)) {
			*ret = LINE_CSV;
			return true;
		}
		if (memchr(line.s + t->prefix, '=', line.len - t->prefix)) {
			struct log_text pairs = *t;

			if (log_fields_pairs(&p->clock, line, t->prefix, &pairs) && pairs.message.value.s)
				*t = pairs;
			else
				log_text_read(&p->clock, line, t);
		}
		return true;
	}
	*ret = LINE_ACCESS;
	if (log_fields_access(&p->clock, line, t))
		return true;
	*ret = LINE_PAIRS;
	*t = (struct log_text){ 0 };
	if (!memchr(line.s, '=', line.len))
		return false;
	if (log_fields_pairs(&p->clock, line, 0, t))
		return true;
	*t = (struct log_text){ 0 };    /* a value may go on over the next lines */
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

/* The prefix reaches up to byte `n` of `text`; what was read around it may have begun it. */
static void extend_prefix(struct found *f, struct text text, size_t n)
{
	if (!f->prefix.s)
		f->prefix.s = text.s;
	f->prefix.len = (size_t)(text.s + n - f->prefix.s);
}

static void keep_stood(struct found *f, struct text line)
{
	if (!f->stood.s)
		f->stood = line;
}

/* The text and the prefix in front of it. */
static struct text with_prefix(const struct found *f, struct text t)
{
	return f->prefix.s ? (struct text){ f->prefix.s, (size_t)(t.s + t.len - f->prefix.s) } : t;
}

static void from_text(struct line_parser *p, struct text record, int depth, struct found *f)
{
	struct text plain = log_plain(record, &p->plain), line = first_line(plain), name, rest;
	struct log_text t __attribute__((uninitialized));
	bool changed = plain.len != record.len;
	enum log_level level = f->level;
	size_t n;

	f->message = plain;
	if (changed)
		keep_stood(f, record);
	n = depth == 0 ? compose_prefix(line, &name) : 0;
	if (n > 0) {
		log_context_text(&p->context, TEXT("container"), name);
		extend_prefix(f, plain, n);
		read_inside(p, text_after(plain, n), depth + 1, f);
		return;
	}
	if (!take_apart(p, plain, line, &t, &f->form)) {
		f->form = LINE_PLAIN;
		f->leveled |= log_trace_begins(line, &level) != TRACE_NONE;
		if (f->leveled)
			f->level = level;
		return;
	}
	take_columns(&t, f);
	if (!t.leveled && log_trace_begins(text_after(line, t.prefix), &level) != TRACE_NONE) {
		f->leveled = true;
		f->level = level;
	}
	level_of_second_line(p, plain, line.len, f);
	warn_of_status(p, &t, f);
	add_fields(p, &t);
	if (t.message.value.s) {
		keep_stood(f, with_prefix(f, record));
		f->message = field_text(p, &t.message);
		return;
	}
	rest = text_after(plain, t.prefix);
	if (rest.len == 0)
		return;                 /* a prefix and nothing behind it is the message */
	extend_prefix(f, plain, t.prefix);
	f->message = rest;
	if (depth < DEPTH_MAX && rest.len > 1 && rest.s[0] == '{')
		read_inside(p, rest, depth + 1, f);
}

/* ---- the record as a whole ---- */

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
	/* object_scan() sets what is read: clearing it for each line would cost more than parsing. */
	struct members m __attribute__((uninitialized));
	struct text stood = line;
	bool lenient = false;

	if (scan_line(p, &line, &m) != OBJECT_GOOD) {
		line = stood;
		if (!scan_leniently(p, &line, &m))
			return false;
		lenient = true;
	}
	if (!is_logcores(&m)) {
		object_settle(&m);
		/* In a text that was read so far, braces alone are no log line. */
		if (depth > 0 && !m.slot[SLOT_MESSAGE].value.s && !m.slot[SLOT_LEVEL].value.s)
			return false;
	}
	if (lenient)
		keep_stood(f, with_prefix(f, stood));
	from_members(p, &m, line, f);
	f->form = LINE_JSON;
	return true;
}

static void read_inside(struct line_parser *p, struct text line, int depth, struct found *f)
{
	if (line.len > 0 && line.s[0] == '{' && from_object(p, line, depth, f))
		return;
	if (line.len > 0 && line.s[0] == '{' && f->message.s == line.s)
		return;                 /* behind a prefix that was read already */
	from_text(p, line, depth, f);
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

/* Each line of the record in a container's wrapper: what is inside, put together. False: the first one is in none. */
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
		if (!buf_add(&p->inside, w.inside.s, w.inside.len) || (!w.partial && !buf_addc(&p->inside, '\n')))
			return false;
		rest = text_after(rest, line.len < rest.len ? line.len + 1 : line.len);
	}
	if (p->inside.len > 0 && p->inside.data[p->inside.len - 1] == '\n')
		p->inside.len--;
	f->wrapped = true;
	read_inside(p, (struct text){ p->inside.data, p->inside.len }, 1, f);
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
		from_text(p, raw, 0, &f);
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
	*p = (struct line_parser){ .clean = BUF(TEXT_MAX), .repaired = BUF(TEXT_MAX), .lenient = BUF(TEXT_MAX),
				   .plain = BUF(TEXT_MAX), .inside = BUF(TEXT_MAX), .message = BUF(TEXT_MAX),
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
