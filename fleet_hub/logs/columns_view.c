#include "columns_view.h"

#include <json-c/json.h>

#include "columns.h"
#include "common/cleanup.h"
#include "common/parse.h"
#include "common/utf8.h"

enum { CONTEXT_SHOWN = 200 };           /* bytes of a whole context in a cell */

static const char standard[] = "time,level,vps,app,message";

/* ---- values of keys ------------------------------------------------------------------------------ */

static struct json_object *member(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, name, &v);
	return v;
}

static size_t count_of(struct json_object *list)
{
	return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

static struct json_object *item(struct json_object *list, size_t i)
{
	return i < count_of(list) ? json_object_array_get_idx(list, i) : NULL;
}

/* The place of a key among the keys that the question was asked for. */
static size_t place_of(const struct columns *c, const struct column *x)
{
	size_t place = 0;

	for (const struct column *k = c->list; k < x; k++)
		place += !k->member;
	return place;
}

/* The values of a line's chosen keys, as the question gives them: [kind, text] each, or null. The digits of
 * a number stay as they are. */
static struct json_object *text_of_key(struct json_object *cells, size_t place)
{
	return item(item(cells, place), 1);
}

static bool is_kind(struct json_object *cells, size_t place, const char *kind)
{
	struct json_object *have = item(item(cells, place), 0);

	return have && strcmp(json_object_get_string(have), kind) == 0;
}

/* The value as it was, its digits, too. */
static struct json_object *cell_json(struct json_object *cells, size_t place)
{
	struct json_object *text = text_of_key(cells, place);
	double number;

	if (!text)
		return NULL;
	if (is_kind(cells, place, "string"))
		return json_object_get(text);
	if (is_kind(cells, place, "number") && parse_double(text_of(json_object_get_string(text)), &number))
		return json_object_new_double_s(number, json_object_get_string(text));
	return json_tokener_parse(json_object_get_string(text));
}

/* ---- files --------------------------------------------------------------------------------------- */

static const struct db_cell *find_cell(const struct db_cell *in, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(in[i].name, name) == 0)
			return &in[i];
	return NULL;
}

static struct db_cell key_cell(const struct columns *c, const struct column *x, struct json_object *cells)
{
	size_t place = place_of(c, x);
	struct json_object *text = text_of_key(cells, place);
	struct db_cell cell = { .name = x->name };

	if (!text)
		return cell;
	cell.value = (struct text){ json_object_get_string(text), (size_t)json_object_get_string_len(text) };
	cell.kind = is_kind(cells, place, "string") ? DB_TEXT
		    : is_kind(cells, place, "number") ? DB_NUMBER : DB_JSON;
	return cell;
}

/* Without a choice the row is as it is. The values of chosen keys stand in the last column. */
static bool view_row(const void *ctx, const struct db_cell *in, size_t n, view_put *put, void *to)
{
	const struct columns *c = ctx;
	const struct db_cell *raw = find_cell(in, n, "context_cells");
	struct db_cell out[COLUMNS_MAX];
	struct json_object *cells;
	bool ok;

	if (!c->n)
		return put(to, in, raw ? (size_t)(raw - in) : n);
	cells = raw && raw->value.s ? json_tokener_parse(raw->value.s) : NULL;
	for (size_t i = 0; i < c->n; i++) {
		const struct column *x = &c->list[i];
		const struct db_cell *own = x->member ? find_cell(in, n, x->member) : NULL;

		out[i] = own ? *own : key_cell(c, x, cells);
	}
	ok = put(to, out, c->n);
	json_object_put(cells);
	return ok;
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

static struct json_object *chosen_members(const struct columns *c, struct json_object *line,
					  struct json_object *cells)
{
	static const char *const marks[] = { "message_length", "context_length", "whole" };
	struct json_object *now = json_object_new_object();

	for (size_t i = 0; i < c->n; i++) {
		const struct column *x = &c->list[i];

		json_object_object_add(now, x->member ? x->member : x->name,
				       x->member ? json_object_get(member(line, x->member))
						 : cell_json(cells, place_of(c, x)));
	}
	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
		if (member(line, marks[i]))
			json_object_object_add(now, marks[i], json_object_get(member(line, marks[i])));
	return now;
}

static bool view_data(const void *ctx, struct json_object *data)
{
	const struct columns *c = ctx;
	struct json_object *lines = member(data, "lines"), *cells = member(data, "context_cells");

	for (size_t i = 0; c->n && i < count_of(lines); i++)
		json_object_array_put_idx(lines, i, chosen_members(c, item(lines, i), item(cells, i)));
	json_object_object_del(data, "context_cells");
	return c->n > 0;
}

/* ---- the parameter ------------------------------------------------------------------------------- */

static int add_keys(struct params *p, const struct columns *c, struct err *e)
{
	CLEANUP(buf_free) struct buf keys = BUF(COLUMNS_TEXT_MAX * 6);
	bool ok = true, any = false;

	for (size_t i = 0; i < c->n && ok; i++) {
		if (c->list[i].member)
			continue;
		ok = buf_addc(&keys, any ? ',' : '[') && buf_add_json(&keys, text_of(c->list[i].key));
		any = true;
	}
	if (ok && !any)
		return params_add(p, NULL, e);
	if (!ok || !buf_addc(&keys, ']'))
		return err_set(e, 500, "out of memory");
	return params_add_copy(p, (struct text){ keys.data, keys.len }, e);
}

int param_columns(struct params *p, const struct param *row, const char *value, struct err *e)
{
	struct columns *c = arena_alloc(&p->arena, sizeof *c);
	int rc;

	(void)row;
	if (!c)
		return err_set(e, 500, "out of memory");
	rc = columns_read(c, value, e);
	if (rc < 0)
		return rc;
	p->row_view = (struct row_view){ .row = view_row, .data = view_data, .ctx = c };
	return add_keys(p, c, e);
}

/* ---- the page ------------------------------------------------------------------------------------ */

static void add_text(struct json_object *o, const char *name, const char *text)
{
	json_object_object_add(o, name, json_object_new_string(text));
}

static void add_flag(struct json_object *o, const char *name, bool is)
{
	json_object_object_add(o, name, json_object_new_boolean(is));
}

static const char *kind_of(const struct column *x)
{
	return column_is(x, "timestamp") ? "at" : column_is(x, "level") ? "lv"
	       : column_is(x, "message") ? "text" : x->member ? "own" : "own key";
}

/* What stands in the cell; the time is that of the page. */
static struct json_object *shown_of(const struct columns *c, const struct column *x, struct json_object *line,
				    struct json_object *cells)
{
	struct json_object *v = !x->member ? text_of_key(cells, place_of(c, x))
				: column_is(x, "timestamp") ? member(line, "at") : member(line, x->member);
	const char *s = v ? json_object_get_string(v) : "";

	return json_object_new_string_len(s, (int)(column_is(x, "context")
		? utf8_cut(s, strlen(s), CONTEXT_SHOWN) : strlen(s)));
}

/* The column whose cell holds the details: the message, or the last one. */
static size_t holder_of(const struct columns *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (column_is(&c->list[i], "message"))
			return i;
	return c->n - 1;
}

static struct json_object *cells_of(const struct columns *c, struct json_object *line,
				    struct json_object *cells)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < c->n; i++) {
		const struct column *x = &c->list[i];
		struct json_object *cell = json_object_new_object();
		bool holds = i == holder_of(c), message = column_is(x, "message");

		add_text(cell, "kind", kind_of(x));
		add_text(cell, "title", column_title(x));
		add_flag(cell, "holds", holds);
		add_flag(cell, "instead", holds && !message);
		json_object_object_add(cell, "shown", message ? NULL : shown_of(c, x, line, cells));
		json_object_array_add(list, cell);
	}
	return list;
}

/* "list": the columns with this one, or without it if it is shown. */
static void add_choice(struct json_object *o, const struct columns *now, const struct column *x)
{
	CLEANUP(buf_free) struct buf out = BUF(COLUMNS_TEXT_MAX);
	struct columns next = *now;

	columns_toggle(&next, x);
	add_flag(o, "shown", columns_have(now, x));
	if (next.n && columns_write(&out, &next) && buf_cstr(&out))
		add_text(o, "list", out.data);
}

static void add_titled(struct json_object *list, const struct columns *now, const struct column *x)
{
	struct json_object *choice = json_object_new_object();

	add_text(choice, "title", column_title(x));
	add_choice(choice, now, x);
	json_object_array_add(list, choice);
}

static struct json_object *menu_of(const struct columns *now)
{
	struct json_object *menu = json_object_new_array();

	for (size_t i = 0; i < column_fields(); i++) {
		struct column x;

		column_of_field(&x, i);
		add_titled(menu, now, &x);
	}
	for (size_t i = 0; i < now->n; i++)
		if (!now->list[i].member)
			add_titled(menu, now, &now->list[i]);
	return menu;
}

/* A facet of a key offers the key as a column. */
static void add_to_facets(const struct columns *now, struct json_object *facets)
{
	for (size_t i = 0; i < count_of(facets); i++) {
		struct json_object *key = member(item(facets, i), "key");
		struct column x;

		if (column_of_key(&x, text_of(key ? json_object_get_string(key) : "")))
			add_choice(item(facets, i), now, &x);
	}
}

static struct json_object *headings_of(const struct columns *c)
{
	struct json_object *headings = json_object_new_array();

	for (size_t i = 0; i < c->n; i++)
		add_titled(headings, c, &c->list[i]);
	return headings;
}

void columns_decorate(const struct request *r, struct json_object *data)
{
	struct json_object *lines = member(data, "lines"), *cells = member(data, "context_cells");
	CLEANUP(buf_free) struct buf list = BUF(COLUMNS_TEXT_MAX);
	struct columns c, now;
	struct err e;

	if (columns_read(&c, request_param(r, "columns"), &e) < 0 ||
	    columns_read(&now, c.n ? request_param(r, "columns") : standard, &e) < 0)
		return;
	json_object_object_add(data, "column_menu", menu_of(&now));
	if (columns_write(&list, &now) && buf_cstr(&list))
		add_text(data, "column_list", list.data);
	add_to_facets(&now, member(data, "context_facets"));
	for (size_t i = 0; c.n && i < count_of(lines); i++)
		json_object_object_add(item(lines, i), "cells", cells_of(&c, item(lines, i), item(cells, i)));
	if (c.n)
		json_object_object_add(data, "columns", headings_of(&c));
}
