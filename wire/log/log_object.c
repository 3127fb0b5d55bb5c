#include "log_object.h"

#include <string.h>

#include "common/buf.h"

enum { PATH_MAX_BYTES = LOG_KEY_MAX };

/* ---- scanning ---- */

/* A name that is written with escapes, as in "\u006dessage". */
__attribute__((noinline)) static const struct log_key *find_escaped(const struct member *x)
{
	struct buf plain = BUF(PATH_MAX_BYTES);
	const struct log_key *row = NULL;

	if (json_unescape(x->key, &plain))
		row = log_key_find((struct text){ plain.data, plain.len });
	buf_free(&plain);
	return row;
}

void object_add_extra(struct members *m, const struct member *x)
{
	if (!x->lent)
		m->extra[m->n_extra++] = *x;
}

static bool is_null(const struct member *x)
{
	return x->type == JSON_WORD && x->value.s[0] == 'n';
}

/* Into its slot; what it pushes out, or the member itself where a more trusted one is there, is an extra. */
static inline void take_member(struct members *m, struct member *x, bool escapes)
{
	struct member *there;

	x->at = (uint16_t)m->n++;
	x->row = escapes ? find_escaped(x) : log_key_find(x->key);
	if (x->row && is_null(x) && x->row->slot != SLOT_CONTEXT &&
	    (x->row->rank == 0 || (x->row->takes & TAKES_WORD)))
		return;
	if (!x->row || !(x->row->takes & (1 << x->type))) {
		object_add_extra(m, x);
		return;
	}
	there = &m->slot[x->row->slot];
	if (there->value.s && there->row->rank < x->row->rank) {
		object_add_extra(m, x);
		return;
	}
	if (there->value.s)
		object_add_extra(m, there);
	*there = *x;
}

/* The value behind a name, and the space around them. */
static inline bool scan_value(struct json_scan *j, struct member *x)
{
	json_space(j);
	if (j->p == j->end || *j->p++ != ':')
		return false;
	json_space(j);
	if (!json_value(j, &x->type, &x->value))
		return false;
	x->escapes = j->escaped;
	x->lent = false;
	json_space(j);
	return true;
}

/* As logcore writes it: the member stands where the table says, and goes straight to its slot. */
static inline bool is_next_of_logcore(const struct members *m, struct text key)
{
	return m->direct && m->n < SLOTS && key.len == log_keys[m->n].name.len &&
	       memcmp(key.s, log_keys[m->n].name.s, key.len) == 0;
}

static inline bool scan_member(struct json_scan *j, struct members *m)
{
	struct member x __attribute__((uninitialized));
	bool escapes;

	if (j->keys_left-- <= 0 || !json_string(j, &escapes, &x.key))
		return false;
	if (is_next_of_logcore(m, x.key)) {
		struct member *there = &m->slot[m->n];

		if (!scan_value(j, there))
			return false;
		there->key = x.key;
		there->row = &log_keys[m->n];
		there->at = (uint16_t)m->n++;
		if (!(there->row->takes & (1 << there->type))) {
			x = *there;
			there->value.s = NULL;
			m->direct = false;
			if (!is_null(&x))
				object_add_extra(m, &x);
		}
		return true;
	}
	m->direct = false;
	if (!scan_value(j, &x))
		return false;
	take_member(m, &x, escapes && !j->unstorable);
	return true;
}

enum object_verdict object_scan(struct text raw, struct members *m)
{
	struct json_scan j = { .p = raw.s, .end = raw.s + raw.len, .depth_max = OBJECT_DEPTH_MAX - 1,
			       .keys_left = OBJECT_KEYS_MAX };

	for (int i = 0; i < SLOTS; i++)
		m->slot[i].value.s = NULL;
	m->n = m->n_extra = 0;
	m->direct = true;
	json_space(&j);
	if (j.p == j.end || *j.p++ != '{')
		return OBJECT_NONE;
	json_space(&j);
	if (j.p == j.end || *j.p != '}') {
		for (;;) {
			if (!scan_member(&j, m) || j.p == j.end)
				return OBJECT_NONE;
			if (*j.p == '}')
				break;
			if (*j.p++ != ',')
				return OBJECT_NONE;
			json_space(&j);
		}
	}
	j.p++;
	json_space(&j);
	if (j.p != j.end)
		return OBJECT_NONE;
	m->repeated = j.repeated;
	return j.unstorable ? OBJECT_UNSTORABLE : OBJECT_GOOD;
}

/* ---- whose field is it? ---- */

const struct member *object_find(const struct members *m, struct text name)
{
	for (int i = 0; i < SLOTS; i++)
		if (m->slot[i].value.s && text_eq(m->slot[i].key, name))
			return &m->slot[i];
	for (size_t i = 0; i < m->n_extra; i++)
		if (text_eq(m->extra[i].key, name))
			return &m->extra[i];
	return NULL;
}

static bool has(const struct members *m, const char *name)
{
	return object_find(m, text_of(name)) != NULL;
}

static bool called(const struct member *x, const char *name)
{
	return x->value.s && text_eq(x->key, text_of(name));
}

/* "shop.billing", "com.example.Shop", "api": as programmers name things; "Zoë" and "two words" are not. */
static bool is_identifier(const struct member *x)
{
	for (size_t i = 1; i + 1 < x->value.len; i++) {
		char c = x->value.s[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      strchr("._-/:$", c)))
			return false;
	}
	return x->value.len > 2;
}

/* bunyan and pino have a host and a process beside it, Python its own names; else it stands before the
 * message, and not where zerolog puts the fields of the application. */
static bool name_is_the_loggers(const struct members *m, const struct member *x)
{
	const struct member *message = &m->slot[SLOT_MESSAGE], *time = &m->slot[SLOT_TIMESTAMP];

	if ((has(m, "hostname") && has(m, "pid")) || has(m, "levelname") || has(m, "levelno"))
		return true;
	if (!message->value.s || !is_identifier(x) || x->at > message->at)
		return false;
	return !((size_t)message->at + 1 == m->n && time->value.s && time->at + 1 == message->at &&
		 x->at + 1 == time->at);
}

/* A name that many use for their own fields counts only beside others of the same logger. */
static bool fits(const struct members *m, const struct member *x)
{
	static const struct {
		const char *name, *beside;
	} rows[] = {
		{ "app", "reqId" },           { "source", "syslog-tag" },     { "c", "t" },
		{ "s", "c" },                 { "t", "msg" },                 { "0", "_meta" },
		{ "log", "stream" },          { "data", "categoryName" },     { "component", "node.name" },
		{ "module", "ibm_datetime" }, { "label", "prio" },
	};

	if (text_eq(x->key, TEXT("name")))
		return name_is_the_loggers(m, x);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (text_eq(x->key, text_of(rows[i].name)) && !x->lent) {
			bool alone = text_eq(x->key, TEXT("log")) && !m->slot[SLOT_MESSAGE].lent;

			return has(m, rows[i].beside) || alone;
		}
	return true;
}

/* The best of the extras for a slot. */
static void fill(struct members *m, enum log_slot slot, unsigned above)
{
	size_t best = m->n_extra;

	for (size_t i = 0; i < m->n_extra; i++) {
		const struct log_key *row = m->extra[i].row;

		if (!row || row->slot != slot || row->rank <= above ||
		    !(row->takes & (1 << m->extra[i].type)))
			continue;
		if ((best == m->n_extra || row->rank < m->extra[best].row->rank) && fits(m, &m->extra[i]))
			best = i;
	}
	if (best == m->n_extra)
		return;
	m->slot[slot] = m->extra[best];
	m->n_extra--;
	memmove(&m->extra[best], &m->extra[best + 1], (m->n_extra - best) * sizeof *m->extra);
}

void object_next(struct members *m, enum log_slot slot)
{
	struct member was = m->slot[slot];

	m->slot[slot].value.s = NULL;
	object_add_extra(m, &was);
	fill(m, slot, was.row->rank);
}

/* Go's and Node's loggers say "time" or "ts" with "msg"; a "message" is a field of the application then. */
static void choose_message(struct members *m)
{
	struct member *x = &m->slot[SLOT_MESSAGE];
	const struct member *msg = NULL, *event = NULL;

	if (!called(x, "message"))
		return;
	for (size_t i = 0; i < m->n_extra; i++) {
		if (text_eq(m->extra[i].key, TEXT("msg")))
			msg = &m->extra[i];
		if (text_eq(m->extra[i].key, TEXT("event")) && m->extra[i].type == JSON_STRING)
			event = &m->extra[i];
	}
	if (msg && (called(&m->slot[SLOT_TIMESTAMP], "time") || called(&m->slot[SLOT_TIMESTAMP], "ts") ||
		    (m->slot[SLOT_LEVEL].value.s && m->slot[SLOT_LEVEL].type == JSON_NUMBER))) {
		object_next(m, SLOT_MESSAGE);
		return;
	}
	/* structlog writes the fields, then the event, then what it adds by itself. */
	if (event && x->at < event->at && m->slot[SLOT_LEVEL].value.s &&
	    m->slot[SLOT_LEVEL].at == event->at + 1) {
		struct member user = *x;

		x->value.s = NULL;
		fill(m, SLOT_MESSAGE, 1);
		object_add_extra(m, &user);
	}
}

/* ---- nested objects ---- */

/* The row of "log.level" for "level" in an object "log". */
static const struct log_key *row_of_path(struct text parent, struct text key)
{
	char path[LOG_KEY_MAX];

	if (parent.len + 1 + key.len > sizeof path)
		return NULL;
	memcpy(path, parent.s, parent.len);
	path[parent.len] = '.';
	memcpy(path + parent.len + 1, key.s, key.len);
	return log_key_find((struct text){ path, parent.len + 1 + key.len });
}

/* Look through the members of the object `of`, whose path is `path`; again in objects within. */
static void look_inside(struct members *m, struct text of, struct text path, int depth)
{
	struct json_scan j = { .p = of.s + 1, .end = of.s + of.len, .depth_max = OBJECT_DEPTH_MAX,
			       .keys_left = OBJECT_KEYS_MAX };

	for (;;) {
		struct member x = { .lent = true };
		bool escapes;

		json_space(&j);
		if (j.p == j.end || *j.p != '"' || !json_string(&j, &escapes, &x.key))
			return;
		json_space(&j);
		j.p++;
		json_space(&j);
		if (!json_value(&j, &x.type, &x.value))
			return;
		x.escapes = j.escaped;
		x.row = row_of_path(path, x.key);
		if (x.row && (x.row->takes & (1 << x.type)) && !is_null(&x)) {
			struct member *there = &m->slot[x.row->slot];

			if (!there->value.s || there->row->rank > x.row->rank) {
				if (there->value.s)
					object_add_extra(m, there);
				*there = x;
			}
		} else if (x.type == JSON_OBJECT && depth > 0 && path.len + 1 + x.key.len < LOG_KEY_MAX) {
			char longer[LOG_KEY_MAX];

			memcpy(longer, path.s, path.len);
			longer[path.len] = '.';
			memcpy(longer + path.len + 1, x.key.s, x.key.len);
			look_inside(m, x.value, (struct text){ longer, path.len + 1 + x.key.len }, depth - 1);
		}
		json_space(&j);
		if (j.p == j.end || *j.p++ != ',')
			return;
	}
}

static bool lacks_something(const struct members *m)
{
	for (enum log_slot slot = SLOT_TIMESTAMP; slot <= SLOT_MESSAGE; slot++)
		if (!m->slot[slot].value.s)
			return true;
	return false;
}

static void look_into_objects(struct members *m)
{
	const struct member *context = &m->slot[SLOT_CONTEXT];

	for (size_t i = 0; i < m->n_extra; i++)
		if (m->extra[i].type == JSON_OBJECT && log_key_leads(m->extra[i].key))
			look_inside(m, m->extra[i].value, m->extra[i].key, 1);
	if (context->value.s && context->type == JSON_OBJECT)
		look_inside(m, context->value, context->key, 0);
}

/* ---- the rest ---- */

/* NestJS names its class there. */
static void context_is_a_name(struct members *m)
{
	struct member *c = &m->slot[SLOT_CONTEXT];

	if (c->value.s && c->type == JSON_STRING && !m->slot[SLOT_LOGGER].value.s &&
	    m->slot[SLOT_LEVEL].value.s && is_identifier(c) && has(m, "pid")) {
		m->slot[SLOT_LOGGER] = *c;
		c->value.s = NULL;
	}
}

/* log4js: the message is the first of several values, which stay. */
static void first_of_several(struct members *m)
{
	struct member *x = &m->slot[SLOT_MESSAGE];
	struct json_scan j = { .p = x->value.s + 1,
			       .end = x->value.s + x->value.len,
			       .depth_max = OBJECT_DEPTH_MAX,
			       .keys_left = OBJECT_KEYS_MAX };
	struct member whole = *x;

	if (x->type != JSON_ARRAY || !called(x, "data"))
		return;
	json_space(&j);
	if (json_value(&j, &x->type, &x->value) && x->type == JSON_STRING) {
		x->escapes = j.escaped;
		x->lent = true;
		json_space(&j);
		if (*j.p == ']')
			return;
	} else {
		x->value.s = NULL;
	}
	object_add_extra(m, &whole);
}

void object_settle(struct members *m)
{
	choose_message(m);
	for (enum log_slot slot = SLOT_TIMESTAMP; slot <= SLOT_MESSAGE; slot++)
		if (m->slot[slot].value.s && m->slot[slot].row->rank > 0 && !fits(m, &m->slot[slot]))
			object_next(m, slot);
	if (lacks_something(m))
		look_into_objects(m);
	context_is_a_name(m);
	if (m->slot[SLOT_MESSAGE].value.s)
		first_of_several(m);
}
