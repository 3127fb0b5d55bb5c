#include "log_lines.h"

#include <json-c/json.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "search.h"

/* With these a list of 100 lines stays below HTTP_BODY_MAX, whatever the lines hold; the cuts of
 * logs.sql are the other half. */
enum {
	LINES_LISTED = 12,              /* of a message in a list, as -webkit-line-clamp in observ.css */
	TEXT_LISTED = 1000,             /* bytes of a message that may make more lines than that */
	FIELDS_BRIEF = 4,               /* fields of a context behind its message */
	FIELDS_LISTED = 24,             /* in the details of a line of a list */
	FIELDS_FILTERED = 100,          /* with links that filter by them */
	FIELD_FILTER_LEN = 60,          /* bytes of a key or value that a link may hold */
	QUERY_FILTER_LEN = 256,         /* bytes of the query that each link holds again */
	LINE_STOOD_MAX = 4 << 20,       /* of a line as it stood */
};

static const char *query_of(const struct request *r)
{
	const char *q = request_param(r, "q");

	return q ? q : "";
}

static struct json_object *member(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(o, name, &v);
	return v;
}

static struct text text_member(struct json_object *o, const char *name)
{
	struct json_object *v = member(o, name);

	if (!json_object_is_type(v, json_type_string))
		return (struct text){ "", 0 };
	return (struct text){ json_object_get_string(v), (size_t)json_object_get_string_len(v) };
}

static struct json_object *new_text(struct text t)
{
	return json_object_new_string_len(t.s, (int)t.len);
}

static void add_part(struct json_object *parts, const char *kind, struct text t)
{
	struct json_object *part;

	if (t.len == 0)
		return;
	part = json_object_new_object();
	json_object_object_add(part, kind, new_text(t));
	json_object_array_add(parts, part);
}

static struct json_object *parts_of(const struct search *s, struct text t)
{
	struct json_object *parts = json_object_new_array();
	size_t at = 0, from, to;

	while (at < t.len && search_find(s, t, at, &from, &to)) {
		add_part(parts, "text", (struct text){ t.s + at, from - at });
		add_part(parts, "hit", (struct text){ t.s + from, to - from });
		at = to;
	}
	add_part(parts, "text", (struct text){ t.s + at, t.len - at });
	return parts;
}

/* A key as the search box reads it: one that could be read otherwise is quoted. */
static void add_name(struct json_object *field, const char *key)
{
	CLEANUP(buf_free) struct buf name = BUF(4 * FIELD_FILTER_LEN);
	bool plain = *key && !key[strcspn(key, " \t\r\n\":=<>!\\()")];
	bool ok = buf_adds(&name, plain ? "ctx." : "ctx.\"");

	for (const char *c = key; *c && ok; c++)
		ok = (!strchr("\"\\", *c) || buf_addc(&name, '\\')) && buf_addc(&name, *c);
	if (ok && (plain || buf_addc(&name, '"')))
		json_object_object_add(field, "name", new_text((struct text){ name.data, name.len }));
}

/* Scalars can be filtered by, as long as the address of the filter stays short; what has members
 * is shown as JSON. */
static void add_field(struct json_object *fields, const char *key, struct json_object *v, bool may_filter)
{
	struct json_object *field = json_object_new_object();
	bool scalar =
		v && !json_object_is_type(v, json_type_object) && !json_object_is_type(v, json_type_array);
	const char *value = v ? json_object_get_string(v) : "null";

	json_object_object_add(field, "key", json_object_new_string(key));
	json_object_object_add(field, "value", json_object_new_string(value));
	if (strlen(key) <= FIELD_FILTER_LEN)
		add_name(field, key);
	json_object_object_add(field, "filter",
			       json_object_new_boolean(may_filter && scalar &&
						       strlen(key) <= FIELD_FILTER_LEN &&
						       strlen(value) <= FIELD_FILTER_LEN));
	json_object_array_add(fields, field);
}

/* What the agent says of a line; an application's own keys rarely begin so. Lists leave it out. */
static bool is_note(const char *key)
{
	return key[0] == '_';
}

/* The line as it stood in its file, where the agent took it apart; absent: it is the message. */
static struct text line_as_it_stood(struct json_object *context, struct text message, struct buf *room)
{
	struct text line, prefix;

	if (!json_object_is_type(context, json_type_object))
		return (struct text){ NULL, 0 };
	line = text_member(context, "_line");
	prefix = text_member(context, "_prefix");
	if (line.len > 0)
		return line;
	if (prefix.len == 0 || !buf_add(room, prefix.s, prefix.len) ||
	    !buf_add(room, message.s, message.len))
		return (struct text){ NULL, 0 };
	return (struct text){ room->data, room->len };
}

/* The first `max` of them. Lists have no notes; on the row's own page the line as it stood has its place. */
static struct json_object *fields_of(const struct request *r, struct json_object *context, size_t max)
{
	struct json_object *fields = json_object_new_array();
	bool short_query = strlen(query_of(r)) <= QUERY_FILTER_LEN;
	struct lh_entry *m;
	size_t n = 0;

	if (!json_object_is_type(context, json_type_object))
		return fields;
	for (m = json_object_get_object(context)->head; m && n < max; m = m->next) {
		const char *key = lh_entry_k(m);
		bool shown_whole = strcmp(key, "_line") == 0 || strcmp(key, "_prefix") == 0;

		if (is_note(key) && (max != SIZE_MAX || shown_whole))
			continue;
		add_field(fields, key, lh_entry_v(m), short_query && n < FIELDS_FILTERED);
		n++;
	}
	return fields;
}

/* The first few, each short, as they stand behind the message. */
static struct json_object *brief_of(struct json_object *fields)
{
	struct json_object *brief = json_object_new_array();
	size_t n = json_object_array_length(fields);

	for (size_t i = 0; i < n && i < FIELDS_BRIEF; i++) {
		struct json_object *field = json_object_array_get_idx(fields, i);

		if (text_member(field, "value").len + text_member(field, "key").len <= 2 * FIELD_FILTER_LEN)
			json_object_array_add(brief, json_object_get(field));
	}
	return brief;
}

/* 2026-11-21T20:33:59.878123+00:00 in the parts that people read. */
static void add_clock(struct json_object *line, bool dated)
{
	struct text t = text_member(line, "timestamp");
	int64_t us;
	char out[RFC3339_SIZE];
	struct text shown;

	if (!parse_rfc3339(t, &us))
		return;
	format_rfc3339(out, us);
	shown = dated ? (struct text){ out + 5, 18 } : (struct text){ out + 11, 12 };
	if (dated)
		out[10] = ' ';
	json_object_object_add(line, "at", new_text(shown));
	json_object_object_add(line, "minute_before",
			       json_object_new_int64((us - 60 * US_PER_S) / US_PER_MS));
	json_object_object_add(line, "minute_after", json_object_new_int64((us + 60 * US_PER_S) / US_PER_MS));
}

/* More than a list shows before somebody opens the row. */
static bool many_lines(struct text t)
{
	size_t n = t.len > TEXT_LISTED ? LINES_LISTED : 0;

	for (const char *at = t.s; n < LINES_LISTED && (at = memchr(at, '\n', t.len - (size_t)(at - t.s)));
	     at++)
		n++;
	return n == LINES_LISTED;
}

static void decorate_line(const struct request *r, const struct search *s, struct json_object *line,
			  bool dated, size_t fields_max)
{
	struct json_object *context = member(line, "context"), *fields = fields_of(r, context, fields_max);
	CLEANUP(buf_free) struct buf room = BUF(LINE_STOOD_MAX);
	struct text stood = line_as_it_stood(context, text_member(line, "message"), &room);

	if (fields_max == SIZE_MAX && stood.s)
		json_object_object_add(line, "stood", new_text(stood));
	json_object_object_add(line, "parts", parts_of(s, text_member(line, "message")));
	json_object_object_add(line, "many_lines",
			       json_object_new_boolean(many_lines(text_member(line, "message"))));
	json_object_object_add(line, "brief", brief_of(fields));
	json_object_object_add(line, "fields", fields);
	json_object_object_add(line, "more_fields", json_object_new_boolean(
		json_object_is_type(context, json_type_object) &&
		(size_t)json_object_object_length(context) > json_object_array_length(fields)));
	if (context && !json_object_is_type(context, json_type_object))
		json_object_object_add(line, "odd_context",
				       json_object_new_string(json_object_get_string(context)));
	add_clock(line, dated);
}

/* Which of a facet's values are in the query already. */
static void mark_facet(const struct request *r, struct json_object *facet)
{
	struct json_object *values = member(facet, "values");
	struct text field = text_member(facet, "field");
	size_t n = json_object_is_type(values, json_type_array) ? json_object_array_length(values) : 0;
	const char *q = query_of(r);

	for (size_t i = 0; i < n; i++) {
		struct json_object *v = json_object_array_get_idx(values, i);
		struct text value = text_member(v, "value");
		struct buf term = BUF(4096);

		json_object_object_add(v, "field", new_text(field));
		if (buf_addf(&term, "%.*s:%.*s", (int)field.len, field.s, (int)value.len, value.s) &&
		    buf_cstr(&term) && strstr(q, term.data))
			json_object_object_add(v, "chosen", json_object_new_boolean(true));
		buf_free(&term);
	}
}

void log_lines_decorate(const struct request *r, struct json_object *data)
{
	struct json_object *lines = member(data, "lines"), *facets = member(data, "facets"),
			   *line = member(data, "line");
	bool dated = json_object_get_boolean(member(data, "dated"));
	CLEANUP(search_free) struct search s;

	if (!search_parse(&s, text_of(query_of(r))))
		return;
	if (s.note[0])
		json_object_object_add(data, "note", json_object_new_string(s.note));
	if (s.understood.len)
		json_object_object_add(data, "understood",
				       new_text((struct text){ s.understood.data, s.understood.len }));
	for (size_t i = 0; lines && i < json_object_array_length(lines); i++)
		decorate_line(r, &s, json_object_array_get_idx(lines, i), dated, FIELDS_LISTED);
	if (line)
		decorate_line(r, &s, line, dated, SIZE_MAX);
	for (size_t i = 0; facets && i < json_object_array_length(facets); i++)
		mark_facet(r, json_object_array_get_idx(facets, i));
}
