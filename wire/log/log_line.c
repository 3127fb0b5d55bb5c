#include "log_line.h"

#include <string.h>

#include "common/clock.h"
#include "common/parse.h"
#include "common/utf8.h"
#include "chars.h"
#include "wire/json_lenient.h"
#include "wire/json_scan.h"
#include "log_found.h"
#include "log_level.h"
#include "log_plain.h"
#include "log_wrapper.h"

enum { TEXT_MAX = 4 * LINE_BYTES_MAX };

const char *const line_form_names[LINE_FORMS] = {
	[LINE_PLAIN] = "plain text",     [LINE_PREFIXED] = "text behind a prefix",
	[LINE_ACCESS] = "access log",    [LINE_PAIRS] = "key=value pairs",
	[LINE_CSV] = "PostgreSQL's CSV", [LINE_JSON] = "JSON",
};

/* ---- an object's members to columns ---- */

/* The characters of a string that has escapes. *ret_less: colours were removed. */
__attribute__((noinline)) static struct text unescaped(struct text inside, struct buf *room, bool *ret_less)
{
	buf_reset(room);
	if (!json_unescape(inside, room))
		return inside;
	*ret_less = log_plain_in(room);
	return (struct text){ room->data, room->len };
}

/* A string's characters without colours; they stay where they are unless it has escapes. */
static inline struct text string_text(const struct member *x, struct buf *room, bool *ret_less)
{
	struct text inside = { x->value.s + 1, x->value.len - 2 };

	*ret_less = false;
	return x->escapes ? unescaped(inside, room, ret_less) : inside;
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
	if (t.len != sizeof "2026-11-21T02:39:14.123456Z" - 1 || t.s[LINE_SECOND] != '.' ||
	    t.s[t.len - 1] != 'Z' || t.s[LINE_SECOND - 2] == '6' || !microseconds(t.s + LINE_SECOND + 1, &us))
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

/* {"epochSecond":1796040000,"nanoOfSecond":123456789}, {"seconds":1796040000,"nanos":123000000}. */
static bool add_nanoseconds(const struct members *m, const struct member *seconds, int64_t *us)
{
	static const char *const names[] = { "\"nanoOfSecond\"", "\"nanos\"" };
	int64_t ns = 0;

	for (size_t i = 0; i < m->n_extra; i++) {
		struct text of = m->extra[i].value;

		if (m->extra[i].type != JSON_OBJECT || seconds->value.s < of.s ||
		    seconds->value.s >= of.s + of.len)
			continue;
		for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
			const char *at = memmem(of.s, of.len, names[k], strlen(names[k]));
			struct text t = at ? text_trim(text_after(of, (size_t)(at - of.s) + strlen(names[k])))
					   : TEXT("");

			t = text_trim(text_after(t, text_first(t) == ':'));
			if (parse_i64((struct text){ t.s, text_span(t, is_digit) }, &ns) && ns >= 0 &&
			    ns < 1000000000)
				*us += ns / 1000;
		}
	}
	return true;
}

static bool time_of(struct line_parser *p, const struct members *m, const struct member *x, int64_t *ret_us,
		    bool *ret_zoned)
{
	struct text t = x->value;
	struct log_time time;

	*ret_zoned = true;
	if (x->type == JSON_NUMBER)
		return log_time_epoch(&p->clock, t, ret_us) && (!x->lent || add_nanoseconds(m, x, ret_us));
	t = (struct text){ t.s + 1, t.len - 2 };
	if (as_logcore_writes(p, t, ret_us))
		return true;
	if (!log_time_begins(&p->clock, t, &time) || time.len != t.len)
		return log_time_epoch(&p->clock, t, ret_us);
	*ret_us = time.us;
	*ret_zoned = time.zoned;
	return true;
}

/* *ret_more: the word says more than the level that it becomes, as "notice" does, or has a colour. */
static bool level_of(const struct members *m, const struct member *x, struct buf *room, enum log_level *ret,
		     bool *ret_more)
{
	enum log_level_family family = x->row->family;
	enum log_level_kind kind;
	struct text t = x->value;

	*ret_more = false;
	if (x->type == JSON_STRING) {
		t = string_text(x, room, ret_more);
		if (log_level_word(t, ret, &kind)) {
			*ret_more |= kind != LEVEL_PLAIN;
			return true;
		}
		for (size_t i = 3; i + 1 < t.len; i++)  /* Go's slog: "ERROR+2" */
			if ((t.s[i] == '+' || t.s[i] == '-') &&
			    text_span(text_after(t, i + 1), is_digit) == t.len - i - 1 &&
			    log_level_word((struct text){ t.s, i }, ret, NULL)) {
				*ret_more = true;
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
		if (time_of(p, m, x, &us, &zoned)) {
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

static void take_level(struct line_parser *p, struct members *m, struct found *f)
{
	const struct member *x = &m->slot[SLOT_LEVEL];
	bool more;

	for (; x->value.s; object_next(m, SLOT_LEVEL))
		if (level_of(m, x, &p->message, &f->level, &more)) {
			f->leveled = true;
			if (more)
				object_add_extra(m, x);
			return;
		}
}

/* In an access log: a status of 500 and above is an ERROR. */
static void level_of_status(const struct members *m, struct found *f)
{
	static const char *const names[] = { "status", "response_code" };
	static const char *const beside[] = { "method", "request", "request_method", "uri" };
	const struct member *x = NULL;
	bool request = false;
	double code;

	for (size_t i = 0; i < sizeof names / sizeof *names && !x; i++)
		x = object_find(m, text_of(names[i]));
	for (size_t i = 0; x && i < sizeof beside / sizeof *beside; i++)
		request |= object_find(m, text_of(beside[i])) != NULL;
	if (!request)
		return;
	if (parse_double(x->type == JSON_STRING ? (struct text){ x->value.s + 1, x->value.len - 2 }
						: x->value,
			 &code) &&
	    code >= 500 && code <= 599) {
		f->leveled = true;
		f->level = LEVEL_ERROR;
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
	bool less;

	if (!x->value.s)
		return;
	f->logger = string_text(x, &p->logger, &less);
	if (x->row->rank > 0 && text_eq(x->key, TEXT("syslogtag"))) {
		f->logger = without_tag(f->logger);
		less = true;
	}
	if (less)
		object_add_extra(m, x);
}

static bool add_members(struct line_parser *p, const struct members *m)
{
	const struct member *c = &m->slot[SLOT_CONTEXT];
	bool ok = true;

	p->context.clash |= m->repeated;
	for (size_t i = 0; i < m->n_extra; i++)
		ok = ok && log_context_member(&p->context, &m->extra[i]);
	if (c->value.s)
		ok = ok && (c->type == JSON_OBJECT ? log_context_object(&p->context, c)
						   : log_context_member(&p->context, c));
	return ok;
}

static void from_members(struct line_parser *p, struct members *m, struct text line, struct found *f)
{
	const struct member *x = &m->slot[SLOT_MESSAGE];
	bool less = false;

	take_time(p, m, f);
	take_level(p, m, f);
	if (!f->leveled)
		level_of_status(m, f);
	take_logger(p, m, f);
	if (x->value.s)
		f->message = x->type == JSON_STRING ? string_text(x, &p->message, &less) : x->value;
	if (!x->value.s || f->message.len == 0)
		f->message = line;
	if (less)
		object_add_extra(m, x);
	add_members(p, m);
}

/* Does every member stand where logcore puts it? */
static bool is_logcores(const struct members *m)
{
	return m->direct && m->n > SLOT_MESSAGE;
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
	from_members(p, m, line, f);
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
