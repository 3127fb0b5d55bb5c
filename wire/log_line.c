#include "log_line.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/parse.h"
#include "common/utf8.h"
#include "json_distinct.h"
#include "json_scan.h"

enum { KEY_MAX = 64, TEXT_MAX = 4 * LINE_BYTES_MAX };

/* ---- levels ---- */

static const struct {
	struct text word;
	enum log_level level;
} level_words[] = {
#define ROW(word, level) { { word, sizeof word - 1 }, level }
	ROW("info", LEVEL_INFO), ROW("debug", LEVEL_DEBUG),
	ROW("warning", LEVEL_WARNING), ROW("warn", LEVEL_WARNING),
	ROW("error", LEVEL_ERROR), ROW("critical", LEVEL_CRITICAL),
	ROW("fatal", LEVEL_CRITICAL), ROW("trace", LEVEL_TRACE),
	ROW("notice", LEVEL_INFO), ROW("err", LEVEL_ERROR),
	ROW("crit", LEVEL_CRITICAL), ROW("panic", LEVEL_CRITICAL),
	ROW("emerg", LEVEL_CRITICAL), ROW("emergency", LEVEL_CRITICAL),
	ROW("alert", LEVEL_CRITICAL), ROW("severe", LEVEL_ERROR),
	ROW("exception", LEVEL_ERROR), ROW("verbose", LEVEL_DEBUG),
	ROW("fine", LEVEL_DEBUG), ROW("silly", LEVEL_TRACE),
	ROW("log", LEVEL_INFO), ROW("information", LEVEL_INFO),
	ROW("traceback", LEVEL_ERROR),
#undef ROW
};

bool line_level(struct text word, enum log_level *ret)
{
	for (size_t i = 0; i < sizeof level_words / sizeof *level_words; i++)
		if (level_words[i].word.len == word.len &&
		    strncasecmp(level_words[i].word.s, word.s, word.len) == 0) {
			*ret = level_words[i].level;
			return true;
		}
	return false;
}

/* 0-7 are syslog's severities (and GELF's), from 10 on pino's and bunyan's. */
static bool level_from_number(struct text t, enum log_level *ret)
{
	static const enum log_level syslog_levels[] = {
		LEVEL_CRITICAL, LEVEL_CRITICAL, LEVEL_CRITICAL, LEVEL_ERROR,
		LEVEL_WARNING, LEVEL_INFO, LEVEL_INFO, LEVEL_DEBUG,
	};
	int64_t n;

	if (!parse_i64(t, &n) || n < 0 || n == 8 || n == 9 || n > 100)
		return false;
	*ret = n < 8 ? syslog_levels[n]
	     : n < 20 ? LEVEL_TRACE : n < 30 ? LEVEL_DEBUG : n < 40 ? LEVEL_INFO
	     : n < 50 ? LEVEL_WARNING : n < 60 ? LEVEL_ERROR : LEVEL_CRITICAL;
	return true;
}

/* The level of a plain-text line: its first word behind what looks like a time
 * or a bracket, if that word is a level. */
static enum log_level guess_level(struct text t)
{
	enum log_level level = LEVEL_INFO;
	size_t from = 0, to;

	while (from < t.len && (isdigit((unsigned char)t.s[from]) || strchr("-:., +[]()TZ|<>/", t.s[from]))) {
		if (t.s[from] == 'T' && !(from > 0 && isdigit((unsigned char)t.s[from - 1])))
			break;
		from++;
	}
	for (to = from; to < t.len && isalpha((unsigned char)t.s[to]);)
		to++;
	line_level((struct text){ t.s + from, to - from }, &level);
	return level;
}

/* ---- the object's members ---- */

enum slot { SLOT_TIMESTAMP, SLOT_LEVEL, SLOT_LOGGER, SLOT_MESSAGE, SLOT_CONTEXT, SLOTS, SLOT_NONE = SLOTS };

struct member {
	struct text key;                /* without quotes, escapes as they stand */
	struct text value;              /* JSON text */
	enum json_kind type;
	bool alias;
	bool escapes;                   /* in the value */
};

struct members {
	size_t n;                       /* members so far */
	struct member slot[SLOTS];      /* .value.s NULL: not there */
	struct member extra[LINE_EXTRAS_MAX + SLOTS];  /* and what leaves its slot */
	size_t n_extra;
	bool repeated;                  /* two keys of one object of a value may be equal */
};

static const struct {
	struct text key;
	enum slot slot;
	bool alias;                     /* gives way to the proper name */
} known_keys[] = {
	{ { "timestamp", 9 }, SLOT_TIMESTAMP, false },  { { "level", 5 }, SLOT_LEVEL, false },
	{ { "logger", 6 }, SLOT_LOGGER, false },        { { "message", 7 }, SLOT_MESSAGE, false },
	{ { "context", 7 }, SLOT_CONTEXT, false },      { { "ts", 2 }, SLOT_TIMESTAMP, true },
	{ { "time", 4 }, SLOT_TIMESTAMP, true },        { { "@timestamp", 10 }, SLOT_TIMESTAMP, true },
	{ { "severity", 8 }, SLOT_LEVEL, true },        { { "lvl", 3 }, SLOT_LEVEL, true },
	{ { "levelname", 9 }, SLOT_LEVEL, true },       { { "msg", 3 }, SLOT_MESSAGE, true },
	{ { "name", 4 }, SLOT_LOGGER, true },
};

enum { KNOWN_KEYS = sizeof known_keys / sizeof *known_keys };

static inline bool is_known_key(size_t i, struct text key)
{
	return known_keys[i].key.len == key.len && known_keys[i].key.s[0] == key.s[0] &&
	       memcmp(known_keys[i].key.s, key.s, key.len) == 0;
}

/* `likely`: its place among the members. The table begins in the order of logcore's lines. */
static enum slot slot_of(struct text key, size_t likely, bool *ret_alias)
{
	size_t i = likely;

	if (likely >= KNOWN_KEYS || !is_known_key(likely, key))
		for (i = 0; i < KNOWN_KEYS && !is_known_key(i, key);)
			i++;
	if (i == KNOWN_KEYS)
		return SLOT_NONE;
	*ret_alias = known_keys[i].alias;
	return known_keys[i].slot;
}

/* A key that is written with escapes, as in "\u006dessage". */
static enum slot slot_of_escaped(struct text key, bool *ret_alias)
{
	struct buf plain = BUF(KEY_MAX);
	enum slot slot = SLOT_NONE;

	if (json_unescape(key, &plain))
		slot = slot_of((struct text){ plain.data, plain.len }, KNOWN_KEYS, ret_alias);
	buf_free(&plain);
	return slot;
}

static void add_extra(struct members *m, const struct member *x)
{
	m->extra[m->n_extra++] = *x;
}

/* A known key goes to its slot; what is pushed out of it, or does not fit there,
 * is an extra. */
static inline bool take_member(struct members *m, struct member *x, bool escapes)
{
	enum slot slot = escapes ? slot_of_escaped(x->key, &x->alias) : slot_of(x->key, m->n, &x->alias);
	struct member *there = &m->slot[slot];

	m->n++;
	if (m->n_extra >= LINE_EXTRAS_MAX)
		return false;
	if (slot == SLOT_NONE || (slot == SLOT_LOGGER && x->type != JSON_STRING) || (there->value.s && x->alias)) {
		add_extra(m, x);
		return true;
	}
	if (there->value.s)
		add_extra(m, there);
	*there = *x;
	return true;
}

enum verdict { LINE_TEXT, LINE_JSON, LINE_UNSTORABLE };

/* Walk over the top-level object. */
static enum verdict scan_object(struct text raw, struct members *m)
{
	struct json_scan j = { .p = raw.s, .end = raw.s + raw.len, .depth_max = LINE_DEPTH_MAX - 1,
			       .keys_left = LINE_KEYS_MAX };
	struct member x = { 0 };
	bool escapes;

	memset(m->slot, 0, sizeof m->slot);
	m->n = m->n_extra = 0;
	json_space(&j);
	if (j.p == j.end || *j.p++ != '{')
		return LINE_TEXT;
	json_space(&j);
	if (j.p < j.end && *j.p == '}') {
		j.p++;
	} else {
		for (;;) {
			if (j.keys_left-- <= 0 || !json_string(&j, &escapes, &x.key))
				return LINE_TEXT;
			json_space(&j);
			if (j.p == j.end || *j.p++ != ':')
				return LINE_TEXT;
			json_space(&j);
			if (!json_value(&j, &x.type, &x.value))
				return LINE_TEXT;
			x.escapes = j.escaped;
			if (!take_member(m, &x, escapes && !j.unstorable))
				return LINE_TEXT;
			json_space(&j);
			if (j.p < j.end && *j.p == '}')
				break;
			if (j.p == j.end || *j.p++ != ',')
				return LINE_TEXT;
			json_space(&j);
		}
		j.p++;
	}
	json_space(&j);
	if (j.p != j.end)
		return LINE_TEXT;
	m->repeated = j.repeated;
	return j.unstorable ? LINE_UNSTORABLE : LINE_JSON;
}

/* ---- members to columns ---- */

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

/* Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by
 * size: each reading is plausible for one of them only, from 1973 to 5138. */
static bool epoch(struct text t, int64_t *ret_us)
{
	double v;

	if (!parse_double(t, &v) || v <= 0)
		return false;
	*ret_us = v < 1e11 ? (int64_t)(v * 1e6) : v < 1e14 ? (int64_t)(v * 1e3)
		: v < 1e17 ? (int64_t)v : v < 1e20 ? (int64_t)(v / 1e3) : 0;
	return *ret_us > 0;
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
static bool rfc3339(struct line_parser *p, struct text t, int64_t *ret_us)
{
	/* Not a leap second: that is put into the one before. */
	bool usual = t.len == sizeof "2026-11-21T02:39:14.123456Z" - 1 && t.s[LINE_SECOND] == '.' && t.s[t.len - 1] == 'Z' &&
		     t.s[LINE_SECOND - 2] != '6';
	int64_t us;

	if (usual && memcmp(t.s, p->second, LINE_SECOND) == 0 && microseconds(t.s + LINE_SECOND + 1, &us)) {
		*ret_us = p->second_us + us;
		return true;
	}
	if (!parse_rfc3339(t, ret_us))
		return false;
	if (usual && microseconds(t.s + LINE_SECOND + 1, &us)) {
		memcpy(p->second, t.s, LINE_SECOND);
		p->second_us = *ret_us - us;
	}
	return true;
}

static bool timestamp(struct line_parser *p, const struct member *x, int64_t now_us, int64_t *ret_us)
{
	struct text t = x->value;
	bool ok = x->type == JSON_STRING
		? rfc3339(p, (struct text){ t.s + 1, t.len - 2 }, ret_us) ||
		  epoch((struct text){ t.s + 1, t.len - 2 }, ret_us)
		: epoch(t, ret_us);

	return ok && *ret_us >= now_us - LINE_PAST_DAYS * US_PER_DAY &&
	       *ret_us <= now_us + LINE_FUTURE_DAYS * US_PER_DAY;
}

static bool level(const struct member *x, enum log_level *ret)
{
	struct text t = x->value;

	if (x->type == JSON_NUMBER)
		return level_from_number(t, ret);
	if (x->type != JSON_STRING)
		return false;
	t = (struct text){ t.s + 1, t.len - 2 };
	return line_level(t, ret) || level_from_number(t, ret);
}

static bool add_member(struct buf *b, const struct member *x)
{
	return (b->len == 1 || buf_addc(b, ',')) && buf_addc(b, '"') && buf_add(b, x->key.s, x->key.len) &&
	       buf_adds(b, "\":") && buf_add(b, x->value.s, x->value.len);
}

/* Put the context together: extras, its own members, the mark. Of equal keys the last one keeps its name. */
static bool build_context(const struct members *m, const char *mark, struct buf *out)
{
	const struct member *c = &m->slot[SLOT_CONTEXT];
	bool ok = buf_addc(out, '{');
	struct json_scan inside;

	for (size_t i = 0; i < m->n_extra; i++)
		ok = ok && add_member(out, &m->extra[i]);
	if (c->value.s && c->type == JSON_OBJECT) {
		inside = (struct json_scan){ .p = c->value.s + 1, .end = c->value.s + c->value.len - 1 };
		json_space(&inside);
		ok = ok && (inside.p == inside.end || out->len == 1 || buf_addc(out, ',')) &&
		     buf_add(out, inside.p, (size_t)(inside.end - inside.p));
	} else if (c->value.s) {
		ok = ok && add_member(out, c);
	}
	if (mark)
		ok = ok && (out->len == 1 || buf_addc(out, ',')) && buf_adds(out, mark);
	return ok && buf_addc(out, '}');
}

/* Notes the bit of a key in *keys; true: it may be equal to one of them. */
static bool may_be_among(struct text key, uint64_t *keys)
{
	uint64_t bit = json_key_bit(key);
	bool among = (*keys & bit) || memchr(key.s, '\\', key.len);

	*keys |= bit;
	return among;
}

/* The bits of the context's own keys. It was scanned before. */
static uint64_t context_keys(const struct member *c)
{
	struct json_scan j = { .p = c->value.s, .end = c->value.s + c->value.len, .depth_max = LINE_DEPTH_MAX,
			       .keys_left = LINE_KEYS_MAX };
	enum json_kind kind;
	struct text t;

	return json_value(&j, &kind, &t) ? j.keys : 0;
}

/* May two keys of the context that is put together be equal? */
static bool may_clash(const struct members *m, const char *mark)
{
	const struct member *c = &m->slot[SLOT_CONTEXT];
	bool clash = m->repeated || mark;
	uint64_t keys = 0;

	if (m->n_extra > 0 && c->value.s && c->type == JSON_OBJECT)
		keys = context_keys(c);
	else if (c->value.s && c->type != JSON_OBJECT)
		clash |= may_be_among(c->key, &keys);
	for (size_t i = 0; i < m->n_extra; i++)
		clash |= may_be_among(m->extra[i].key, &keys);
	return clash;
}

static struct text distinct(struct line_parser *p, struct text context)
{
	buf_reset(&p->distinct);
	if (!json_distinct(context, &p->distinct))
		return context;         /* out of memory: as the database would have it */
	return (struct text){ p->distinct.data, p->distinct.len };
}

/* Where it is just the line's own object, it stays where it is. */
static struct text context(struct line_parser *p, const struct members *m, const char *mark)
{
	const struct member *c = &m->slot[SLOT_CONTEXT];
	struct text t = c->value;

	if (!t.s || c->type != JSON_OBJECT || m->n_extra > 0 || mark) {
		buf_reset(&p->context);
		if (!build_context(m, mark, &p->context) || p->context.len == 2)
			return (struct text){ NULL, 0 };
		t = (struct text){ p->context.data, p->context.len };
	}
	return may_clash(m, mark) ? distinct(p, t) : t;
}

static void from_members(struct line_parser *p, struct members *m, int64_t now_us, const char *mark,
			 struct sample *s)
{
	const struct member *x = m->slot;

	s->timestamp_us = now_us;
	if (x[SLOT_TIMESTAMP].value.s && !timestamp(p, &x[SLOT_TIMESTAMP], now_us, &s->timestamp_us)) {
		s->timestamp_us = now_us;
		add_extra(m, &x[SLOT_TIMESTAMP]);
	}
	s->log.level = LEVEL_INFO;
	if (x[SLOT_LEVEL].value.s && !level(&x[SLOT_LEVEL], &s->log.level))
		add_extra(m, &x[SLOT_LEVEL]);
	s->log.logger = (struct text){ NULL, 0 };
	if (x[SLOT_LOGGER].value.s)
		s->log.logger = string_text(&x[SLOT_LOGGER], &p->logger);
	s->log.message = (struct text){ "", 0 };
	if (x[SLOT_MESSAGE].value.s)
		s->log.message = x[SLOT_MESSAGE].type == JSON_STRING
			? string_text(&x[SLOT_MESSAGE], &p->message) : x[SLOT_MESSAGE].value;
	s->log.context = context(p, m, mark);
}

static void from_text(struct line_parser *p, struct text line, int64_t now_us, const char *mark,
		      struct sample *s)
{
	struct members none __attribute__((uninitialized));

	memset(none.slot, 0, sizeof none.slot);
	none.n_extra = 0;
	none.repeated = false;
	s->timestamp_us = now_us;
	s->log.level = guess_level(line);
	s->log.logger = (struct text){ NULL, 0 };
	s->log.message = line;
	s->log.context = context(p, &none, mark);
}

/* The line with what cannot be stored replaced. TEXT_MAX is room enough: a byte
 * grows to three at most, a number by its quotes. */
static struct text repair(struct line_parser *p, struct text raw, bool json)
{
	buf_reset(&p->repaired);
	if (!json_repair(raw, json, &p->repaired))
		return TEXT("(a line that could not be repaired: out of memory)");
	return (struct text){ p->repaired.data, p->repaired.len };
}

/* Scan the line, and once more repaired where it is JSON that can't be stored. */
static enum verdict scan_line(struct line_parser *p, struct text raw, bool clean, struct members *m)
{
	enum verdict verdict;

	if (!clean)
		raw = repair(p, raw, true);
	verdict = scan_object(raw, m);
	if (verdict == LINE_UNSTORABLE && clean)
		verdict = scan_object(repair(p, raw, true), m);
	return verdict;
}

void line_parse(struct line_parser *p, struct text raw, int64_t now_us, const char *mark, struct sample *s)
{
	/* scan_object() sets what is read: clearing 6 kB for each line would cost more
	 * than parsing it. */
	struct members m __attribute__((uninitialized));
	bool clean;

	s->log.raw = raw;
	while (raw.len > 0 && raw.s[raw.len - 1] == '\r')
		raw.len--;
	if (raw.len >= 3 && memcmp(raw.s, "\xef\xbb\xbf", 3) == 0)      /* byte order mark */
		raw = (struct text){ raw.s + 3, raw.len - 3 };
	clean = utf8_is_clean(raw);
	s->kind = SAMPLE_LOG;
	if (scan_line(p, raw, clean, &m) == LINE_JSON)
		from_members(p, &m, now_us, mark, s);
	else
		from_text(p, clean ? raw : repair(p, raw, false), now_us, mark, s);
}

void line_parser_init(struct line_parser *p)
{
	*p = (struct line_parser){ .repaired = BUF(TEXT_MAX), .message = BUF(TEXT_MAX), .logger = BUF(TEXT_MAX),
				   .context = BUF(TEXT_MAX), .distinct = BUF(TEXT_MAX) };
}

void line_parser_free(struct line_parser *p)
{
	buf_free(&p->repaired);
	buf_free(&p->message);
	buf_free(&p->logger);
	buf_free(&p->context);
	buf_free(&p->distinct);
}
