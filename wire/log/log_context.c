#include "log_context.h"

#include <string.h>

#include "wire/json_distinct.h"

void log_context_init(struct log_context *c, size_t max)
{
	*c = (struct log_context){ .json = BUF(max), .distinct = BUF(max) };
}

void log_context_free(struct log_context *c)
{
	buf_free(&c->json);
	buf_free(&c->distinct);
}

void log_context_begin(struct log_context *c)
{
	buf_reset(&c->json);
	c->whole = (struct text){ NULL, 0 };
	c->keys = 0;
	c->clash = c->underscored = false;
}

static void note_key(struct log_context *c, struct text key)
{
	uint64_t bit = key.len > 0 ? json_key_bit(key) : 0;

	c->underscored |= key.len > 0 && key.s[0] == '_';
	c->clash |= (c->keys & bit) || key.len == 0 || memchr(key.s, '\\', key.len);
	c->keys |= bit;
}

/* The names of fields differ from each other. */
static void note_name(struct log_context *c, struct text name)
{
	c->underscored |= name.len > 0 && name.s[0] == '_';
	c->keys |= name.len > 0 ? json_key_bit(name) : 0;
}

/* The members of an object, without its braces. */
static bool add_inside(struct log_context *c, struct text object)
{
	struct json_scan j = { .p = object.s + 1, .end = object.s + object.len - 1 };

	json_space(&j);
	return j.p == j.end || ((c->json.len == 1 || buf_addc(&c->json, ',')) &&
				buf_add(&c->json, j.p, (size_t)(j.end - j.p)));
}

/* Room for the next member: the object that was not copied so far is. */
static bool open_object(struct log_context *c)
{
	struct text whole = c->whole;

	if (c->json.len == 0 && !buf_addc(&c->json, '{'))
		return false;
	c->whole.s = NULL;
	c->clash |= whole.s != NULL;    /* its keys were not noted */
	return !whole.s || add_inside(c, whole);
}

static bool next_member(struct log_context *c)
{
	return open_object(c) && (c->json.len == 1 || buf_addc(&c->json, ','));
}

bool log_context_member(struct log_context *c, const struct member *x)
{
	note_key(c, x->key);
	return next_member(c) && buf_addc(&c->json, '"') && buf_add(&c->json, x->key.s, x->key.len) &&
	       buf_adds(&c->json, "\":") && buf_add(&c->json, x->value.s, x->value.len);
}

/* Behind other members. */
__attribute__((noinline)) static bool append_object(struct log_context *c, const struct member *object)
{
	struct json_scan j = { .p = object->value.s, .end = object->value.s + object->value.len,
			       .depth_max = OBJECT_DEPTH_MAX, .keys_left = OBJECT_KEYS_MAX };
	enum json_kind kind;
	struct text t;

	if (json_value(&j, &kind, &t))
		c->clash |= (c->keys & j.keys) != 0;
	c->keys |= j.keys;
	return open_object(c) && add_inside(c, object->value);
}

bool log_context_object(struct log_context *c, const struct member *object)
{
	if (c->json.len > 0 || c->whole.s)
		return append_object(c, object);
	c->whole = object->value;
	return true;
}

/* A member whose name and value need no escapes, at once: most of the cost of a context is here. */
static bool add_plain(struct buf *b, struct text name, struct text value, bool quotes)
{
	static const char between[] = "\":\"";
	char *to = buf_room(b, name.len + value.len + sizeof ",\"\":\"\"" - 1), *begin = to;

	if (!to)
		return false;
	if (b->len > 1)
		*to++ = ',';
	*to++ = '"';
	to = mempcpy(to, name.s, name.len);
	to = mempcpy(to, between, sizeof between - 1 - !quotes);
	to = mempcpy(to, value.s, value.len);
	if (quotes)
		*to++ = '"';
	b->len += (size_t)(to - begin);
	return true;
}

bool log_context_text(struct log_context *c, struct text name, struct text value)
{
	note_name(c, name);
	if (json_is_plain(name) && json_is_plain(value))
		return open_object(c) && add_plain(&c->json, name, value, true);
	return next_member(c) && buf_add_json(&c->json, name) && buf_addc(&c->json, ':') &&
	       buf_add_json(&c->json, value);
}

bool log_context_mark(struct log_context *c, struct text name, struct text value)
{
	c->clash |= c->underscored && (c->keys & json_key_bit(name));
	return log_context_text(c, name, value);
}

/* Quotes are written twice. */
static bool add_doubled(struct buf *b, struct text t)
{
	bool ok = buf_addc(b, '"');

	while (ok && t.len > 0) {
		const char *quote = memchr(t.s, '"', t.len);
		size_t n = quote ? (size_t)(quote + 1 - t.s) : t.len;

		ok = buf_add_json_part(b, (struct text){ t.s, n });
		n += quote && n < t.len;
		t = (struct text){ t.s + n, t.len - n };
	}
	return ok && buf_addc(b, '"');
}

bool log_context_field(struct log_context *c, const struct log_text_field *f)
{
	if (f->kind == FIELD_TEXT)
		return log_context_text(c, f->name, f->value);
	note_name(c, f->name);
	if (f->kind == FIELD_JSON && json_is_plain(f->name))
		return open_object(c) && add_plain(&c->json, f->name, f->value, false);
	if (!next_member(c) || !buf_add_json(&c->json, f->name) || !buf_addc(&c->json, ':'))
		return false;
	return f->kind == FIELD_DOUBLED ? add_doubled(&c->json, f->value)
					: buf_add(&c->json, f->value.s, f->value.len);
}

bool log_context_json(struct log_context *c, const char *members)
{
	c->clash = true;
	return next_member(c) && buf_adds(&c->json, members);
}

struct text log_context_end(struct log_context *c)
{
	struct text t = c->whole;

	if (c->json.len > 0) {
		/* Its own closing brace may lack the room: then the row goes without its context. */
		if (!buf_addc(&c->json, '}') || c->json.len == 2)
			return (struct text){ NULL, 0 };
		t = (struct text){ c->json.data, c->json.len };
	}
	if (!c->clash || !t.s)
		return t;
	buf_reset(&c->distinct);
	if (!json_distinct(t, &c->distinct))
		return t;               /* out of memory: as the database would have it */
	return (struct text){ c->distinct.data, c->distinct.len };
}
