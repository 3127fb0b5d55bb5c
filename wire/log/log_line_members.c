#include "log_found.h"

#include <string.h>

#include "common/clock.h"
#include "common/parse.h"
#include "chars.h"
#include "log_level.h"
#include "log_plain.h"
#include "wire/json_scan.h"

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

/* The object that a dotted name was taken out of; empty: none. */
static struct text parent_of(const struct members *m, const struct member *x)
{
	for (size_t i = 0; i < m->n_extra; i++) {
		struct text of = m->extra[i].value;

		if (m->extra[i].type == JSON_OBJECT && x->value.s >= of.s && x->value.s < of.s + of.len)
			return of;
	}
	return TEXT("");
}

/* {"date":"2026-11-30 12:00:01.000000","timezone":"Europe\/Berlin"} of PHP: the time with its zone; `t` where
 * there is none. */
static struct text with_zone_beside(const struct members *m, const struct member *x, struct text t,
				    struct buf *room)
{
	static const char mark[] = "\"timezone\":\"";
	struct text of = x->lent ? parent_of(m, x) : TEXT("");
	const char *at = memmem(of.s, of.len, mark, sizeof mark - 1), *end;

	if (!at)
		return t;
	at += sizeof mark - 1;
	end = memchr(at, '"', (size_t)(of.s + of.len - at));
	buf_reset(room);
	if (!end || !buf_add(room, t.s, t.len) || !buf_addc(room, ' '))
		return t;
	for (; at < end; at++)
		if (*at != '\\' && !buf_addc(room, *at))
			return t;
	return (struct text){ room->data, room->len };
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
	t = with_zone_beside(m, x, t, &p->logger);
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

void found_members(struct line_parser *p, struct members *m, struct text line, struct found *f)
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
