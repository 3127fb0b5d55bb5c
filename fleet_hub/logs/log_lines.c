#include "log_lines.h"

#include <json-c/json.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "fleet_hub/view/links.h"
#include "columns_view.h"
#include "log_tree.h"
#include "search.h"

/* With these a list of 100 lines stays below HTTP_BODY_MAX, whatever the lines hold; the cuts of
 * logs.sql are the other half. */
enum {
	LINES_LISTED = 12,              /* of a message in a list, as -webkit-line-clamp in observ.css */
	TEXT_LISTED = 1000,             /* bytes of a message that may make more lines than that */
	FIELDS_FILTERED = 400,          /* of a whole context, with links that filter by them */
	QUERY_FILTER_LEN = 512,         /* bytes of the query that each of these links holds again */
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

/* The fields that each line has, with the terms that ask for them. */
static void add_facts(struct json_object *fields, struct json_object *line)
{
	static const struct { const char *key, *member, *field; } facts[] = {
		{ "server", "vps", "vps" },
		{ "application", "app", "app" },
		{ "level", "level", "level" },
		{ "logger", "logger", "logger" },
	};

	for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
		log_tree_fact(fields, facts[i].key, facts[i].field, text_member(line, facts[i].member));
}

static void decorate_line(const struct search *s, struct json_object *line, bool dated)
{
	struct text message = text_member(line, "message");

	json_object_object_add(line, "parts", parts_of(s, message));
	json_object_object_add(line, "many_lines", json_object_new_boolean(many_lines(message)));
	json_object_object_add(line, "brief", log_tree_brief(member(line, "context")));
	add_clock(line, dated);
}

/* The line of a page of its own, from which a list takes the fields when somebody opens a row. */
static void decorate_whole_line(const struct request *r, struct json_object *line)
{
	struct json_object *context = member(line, "context"), *fields = json_object_new_array();
	struct log_tree tree = {
		.nodes = fields,
		.filtered = strlen(query_of(r)) > QUERY_FILTER_LEN ? 0 : FIELDS_FILTERED,
	};
	CLEANUP(buf_free) struct buf room = BUF(LINE_STOOD_MAX);
	struct text stood = line_as_it_stood(context, text_member(line, "message"), &room);

	add_facts(fields, line);
	log_tree_add(&tree, context);
	if (stood.s)
		json_object_object_add(line, "stood", new_text(stood));
	json_object_object_add(line, "fields", fields);
	json_object_object_add(line, "of_list", json_object_new_boolean(request_param(r, "list") != NULL));
	if (context && !json_object_is_type(context, json_type_object))
		json_object_object_add(line, "odd_context",
				       json_object_new_string(json_object_get_string(context)));
}

/* The terms of a facet's values, and what the query says of them. A facet of a key has the field "ctx". */
static void decorate_facet(const struct request *r, struct json_object *facet)
{
	struct json_object *values = member(facet, "values");
	struct text field = text_member(facet, "field"), key = text_member(facet, "key");
	size_t n = json_object_is_type(values, json_type_array) ? json_object_array_length(values) : 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *v = json_object_array_get_idx(values, i);
		CLEANUP(buf_free) struct buf term = BUF(LOG_TERM_MAX);
		enum link_stand stand;

		if (!(key.len ? log_tree_term(&term, key, text_member(v, "value"))
			      : log_field_term(&term, field, text_member(v, "value"))))
			continue;
		json_object_object_add(v, "term", new_text((struct text){ term.data, term.len }));
		stand = link_stands(r, (struct text){ term.data, term.len });
		json_object_object_add(v, "chosen", json_object_new_boolean(stand == LINK_WANTED));
	}
}

static void decorate_facets(const struct request *r, struct json_object *facets)
{
	size_t n = json_object_is_type(facets, json_type_array) ? json_object_array_length(facets) : 0;

	for (size_t i = 0; i < n; i++)
		decorate_facet(r, json_object_array_get_idx(facets, i));
}

static bool time_member(struct json_object *o, const char *name, int64_t *ret_us)
{
	return parse_rfc3339(text_member(o, name), ret_us);
}

static void add_time(struct json_object *o, const char *name, int64_t us)
{
	char text[RFC3339_SIZE];

	format_rfc3339(text, us);
	json_object_object_add(o, name, json_object_new_string(text));
}

/* The way back from a chosen time: three times as long, at most until now. */
static void add_wider(const struct request *r, struct json_object *data)
{
	struct json_object *wider;
	int64_t from, to, half, now = wall_us();

	if ((!request_param(r, "from") && !request_param(r, "to")) || !time_member(data, "from", &from) ||
	    !time_member(data, "to", &to) || to <= from)
		return;
	half = to - from;
	wider = json_object_new_object();
	add_time(wider, "from", from > half ? from - half : 0);
	add_time(wider, "to", to + half > now && now > to ? now : to > now ? to : to + half);
	json_object_object_add(data, "wider", wider);
}

void log_lines_decorate(const struct request *r, struct json_object *data)
{
	struct json_object *lines = member(data, "lines"), *line = member(data, "line");
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
		decorate_line(&s, json_object_array_get_idx(lines, i), dated);
	if (line) {
		decorate_line(&s, line, dated);
		decorate_whole_line(r, line);
	}
	decorate_facets(r, member(data, "facets"));
	decorate_facets(r, member(data, "context_facets"));
	columns_decorate(r, data);
	add_wider(r, data);
}
