#include "logs.h"

#include <errno.h>
#include <json-c/json.h>

#include "common/clock.h"
#include "common/parse.h"
#include "common/utf8.h"
#include "fleet_hub/base/times.h"

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
	VALUE_SAID_MAX = 60,            /* bytes of a parameter that a sentence quotes */
};

/* ---- parameters ------------------------------------------------------------------------------ */

static const struct { const char *name, *seconds; } ranges[] = {
	{ "15m", "900" },    { "1h", "3600" },    { "6h", "21600" },     { "24h", "86400" },
	{ "7d", "604800" },  { "30d", "2592000" }, { "90d", "7776000" },
};

static void add(struct params *p, const char *value)
{
	p->v[p->n++] = value;
}

static const char *param_or(const struct request *r, const char *name, const char *otherwise)
{
	const char *v = request_param(r, name);

	return v ? v : otherwise;
}

static int unreadable(struct err *e, const char *name, const char *value, const char *form)
{
	return err_set(e, 400, "\"%.*s\" cannot be read as \"%s\": %s.", (int)utf8_cut(value, strlen(value), VALUE_SAID_MAX), value,
		       name, form);
}

static int add_range(struct request *r, struct params *p, struct err *e)
{
	const char *range = param_or(r, "range", "");

	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (strcmp(range[0] ? range : "1h", ranges[i].name) == 0) {
			add(p, ranges[i].seconds);
			return 0;
		}
	return unreadable(e, "range", range, "write 15m, 1h, 6h, 24h, 7d, 30d or 90d");
}

static int add_time(struct params *p, const char *name, const char *value, struct err *e)
{
	char *copy;
	int64_t us;

	if (!value || !*value) {
		add(p, NULL);
		return 0;
	}
	if (!times_read(text_of(value), wall_us(), &us))
		return unreadable(e, name, value, TIMES_FORMS);
	copy = arena_alloc(&p->arena, RFC3339_SIZE);
	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	format_rfc3339(copy, us);
	add(p, copy);
	return 0;
}

static int add_span(struct request *r, struct params *p, struct err *e)
{
	int rc = add_time(p, "from", request_param(r, "from"), e);

	if (rc == 0)
		rc = add_time(p, "to", request_param(r, "to"), e);
	if (rc == 0 && p->v[p->n - 2] && p->v[p->n - 1] && strcmp(p->v[p->n - 2], p->v[p->n - 1]) >= 0)
		return err_set(e, 400, "\"from\" is %s, \"to\" is %s: \"from\" must be the earlier one.", p->v[p->n - 2],
			       p->v[p->n - 1]);
	return rc < 0 ? rc : add_range(r, p, e);
}

int fleet_params(struct request *r, struct params *p, struct err *e)
{
	(void)e;
	add(p, param_or(r, "q", ""));
	add(p, param_or(r, "state", ""));
	add(p, param_or(r, "sort", ""));
	add(p, p->form == FORM_CSV ? "all" : param_or(r, "show", ""));
	return 0;
}

int server_params(struct request *r, struct params *p, struct err *e)
{
	add(p, strchr(r->path + 1, '/') ? strchr(r->path + 1, '/') + 1 : "");
	return add_span(r, p, e);
}

static const char *level_list(struct params *p)
{
	struct buf list = BUF(256);
	const char *copy = NULL;
	bool ok = buf_addc(&list, '{');

	if (p->search.levels == SEARCH_ANY_LEVEL)
		return NULL;
	for (int i = 0; i < LOG_LEVELS && ok; i++)
		if (p->search.levels & (1u << i))
			ok = (list.len == 1 || buf_addc(&list, ',')) && buf_adds(&list, log_level_names[i]);
	ok = ok && buf_addc(&list, '}');
	if (ok)
		copy = arena_dup(&p->arena, (struct text){ list.data, list.len });
	buf_free(&list);
	return copy ? copy : "{}";
}

/* "TIMESTAMP,ID,SERVER": the keyset's place; the server's name may hold anything. */
static int add_cursor(struct request *r, struct params *p, struct err *e)
{
	const char *older = request_param(r, "before"), *newer = request_param(r, "after");
	const char *cursor = older ? older : newer, *id, *vps;
	uint64_t number;
	struct text at;
	int rc;

	add(p, older ? "older" : newer ? "newer" : "");
	if (!cursor) {
		add(p, NULL);
		add(p, NULL);
		add(p, NULL);
		return 0;
	}
	id = strchr(cursor, ',');
	vps = id ? strchr(id + 1, ',') : NULL;
	if (!vps || !parse_u64((struct text){ id + 1, (size_t)(vps - id - 1) }, &number) || number > INT64_MAX)
		return unreadable(e, older ? "before" : "after", cursor, "it is a line's TIMESTAMP,ID,SERVER");
	at = (struct text){ cursor, (size_t)(id - cursor) };
	const char *time = arena_dup(&p->arena, at), *digits = arena_dup(&p->arena, (struct text){ id + 1, (size_t)(vps - id - 1) });
	if (!time || !digits)
		return err_set(e, ENOMEM, "out of memory");
	rc = add_time(p, older ? "before" : "after", *time ? time : "-", e);
	add(p, vps + 1);
	add(p, digits);
	return rc;
}

int logs_params(struct request *r, struct params *p, struct err *e)
{
	struct search *s = &p->search;
	int rc;

	if (!search_parse(s, text_of(param_or(r, "q", ""))))
		return err_set(e, ENOMEM, "out of memory");
	add(p, s->words.len ? s->words.data : "");
	add(p, level_list(p));
	for (int i = 0; i < SEARCH_FIELDS; i++) {
		add(p, s->only[i].data);
		add(p, s->not[i].data);
	}
	add(p, s->context_only.data);
	add(p, s->context_not.data);
	rc = add_span(r, p, e);
	if (rc == 0)
		rc = add_cursor(r, p, e);
	add(p, p->form == FORM_CSV || p->form == FORM_NDJSON ? "100000" : "100");
	return rc;
}

static int add_number(struct request *r, struct params *p, const char *name, struct err *e)
{
	const char *v = request_param(r, name);
	int64_t n;

	if (!v || !parse_i64(text_of(v), &n))
		return unreadable(e, name, v ? v : "", "write a number");
	add(p, v);
	return 0;
}

int around_params(struct request *r, struct params *p, struct err *e)
{
	int rc;

	add(p, param_or(r, "vps", ""));
	add(p, param_or(r, "app", ""));
	rc = add_number(r, p, "stream", e);
	if (rc == 0)
		rc = add_number(r, p, "offset", e);
	return rc < 0 ? rc : add_time(p, "at", param_or(r, "at", "-"), e);
}

int line_params(struct request *r, struct params *p, struct err *e)
{
	int rc = add_number(r, p, "id", e);

	return rc < 0 ? rc : add_time(p, "at", param_or(r, "at", "-"), e);
}

/* ---- decorating lines ------------------------------------------------------------------------------ */

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

/* Scalars can be filtered by, as long as the address of the filter stays short; what has members
 * is shown as JSON. */
static void add_field(struct json_object *fields, const char *key, struct json_object *v, bool may_filter)
{
	struct json_object *field = json_object_new_object();
	bool scalar = v && !json_object_is_type(v, json_type_object) && !json_object_is_type(v, json_type_array);
	const char *value = v ? json_object_get_string(v) : "null";

	json_object_object_add(field, "key", json_object_new_string(key));
	json_object_object_add(field, "value", json_object_new_string(value));
	json_object_object_add(field, "filter", json_object_new_boolean(may_filter && scalar && strlen(key) <= FIELD_FILTER_LEN &&
									   strlen(value) <= FIELD_FILTER_LEN));
	json_object_array_add(fields, field);
}

/* The first `max` of them. */
static struct json_object *fields_of(const struct request *r, struct json_object *context, size_t max)
{
	struct json_object *fields = json_object_new_array();
	bool short_query = strlen(param_or(r, "q", "")) <= QUERY_FILTER_LEN;
	struct lh_entry *m;
	size_t n = 0;

	if (!json_object_is_type(context, json_type_object))
		return fields;
	for (m = json_object_get_object(context)->head; m && n < max; m = m->next, n++)
		add_field(fields, lh_entry_k(m), lh_entry_v(m), short_query && n < FIELDS_FILTERED);
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
	json_object_object_add(line, "minute_before", json_object_new_int64((us - 60 * US_PER_S) / US_PER_MS));
	json_object_object_add(line, "minute_after", json_object_new_int64((us + 60 * US_PER_S) / US_PER_MS));
}

/* More than a list shows before somebody opens the row. */
static bool many_lines(struct text t)
{
	size_t n = t.len > TEXT_LISTED ? LINES_LISTED : 0;

	for (const char *at = t.s; n < LINES_LISTED && (at = memchr(at, '\n', t.len - (size_t)(at - t.s))); at++)
		n++;
	return n == LINES_LISTED;
}

static void decorate_line(const struct request *r, const struct params *p, struct json_object *line, bool dated,
			  size_t fields_max)
{
	struct json_object *context = member(line, "context"), *fields = fields_of(r, context, fields_max);

	json_object_object_add(line, "parts", parts_of(&p->search, text_member(line, "message")));
	json_object_object_add(line, "many_lines", json_object_new_boolean(many_lines(text_member(line, "message"))));
	json_object_object_add(line, "brief", brief_of(fields));
	json_object_object_add(line, "fields", fields);
	json_object_object_add(line, "more_fields", json_object_new_boolean(
		json_object_is_type(context, json_type_object) &&
		(size_t)json_object_object_length(context) > json_object_array_length(fields)));
	if (context && !json_object_is_type(context, json_type_object))
		json_object_object_add(line, "odd_context", json_object_new_string(json_object_get_string(context)));
	add_clock(line, dated);
}

/* Which of a facet's values are in the query already. */
static void mark_facet(const struct request *r, struct json_object *facet)
{
	struct json_object *values = member(facet, "values");
	struct text field = text_member(facet, "field");
	size_t n = json_object_is_type(values, json_type_array) ? json_object_array_length(values) : 0;
	const char *q = param_or(r, "q", "");

	for (size_t i = 0; i < n; i++) {
		struct json_object *v = json_object_array_get_idx(values, i);
		struct text value = text_member(v, "value");
		struct buf term = BUF(4096);

		json_object_object_add(v, "field", new_text(field));
		if (buf_addf(&term, "%.*s:%.*s", (int)field.len, field.s, (int)value.len, value.s) && buf_cstr(&term) &&
		    strstr(q, term.data))
			json_object_object_add(v, "chosen", json_object_new_boolean(true));
		buf_free(&term);
	}
}

void logs_decorate(const struct request *r, const struct params *p, struct json_object *data)
{
	struct json_object *lines = member(data, "lines"), *facets = member(data, "facets"), *line = member(data, "line");
	bool dated = json_object_get_boolean(member(data, "dated"));

	if (p->search.note[0])
		json_object_object_add(data, "note", json_object_new_string(p->search.note));
	for (size_t i = 0; lines && i < json_object_array_length(lines); i++)
		decorate_line(r, p, json_object_array_get_idx(lines, i), dated, FIELDS_LISTED);
	if (line)
		decorate_line(r, p, line, dated, SIZE_MAX);
	for (size_t i = 0; facets && i < json_object_array_length(facets); i++)
		mark_facet(r, json_object_array_get_idx(facets, i));
}
