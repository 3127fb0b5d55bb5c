#include "csv.h"

#include <json-c/json.h>
#include <string.h>

enum { COLUMNS_MAX = 64 };

struct columns {
	const char *name[COLUMNS_MAX];
	size_t n;
};

static void collect(struct json_object *row, struct columns *c)
{
	c->n = 0;
	if (!json_object_is_type(row, json_type_object))
		return;
	for (struct lh_entry *m = json_object_get_object(row)->head; m; m = m->next)
		if (c->n < COLUMNS_MAX && !json_object_is_type(lh_entry_v(m), json_type_array))
			c->name[c->n++] = lh_entry_k(m);
}

static bool needs_quotes(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (t.s[i] == '"' || t.s[i] == ',' || t.s[i] == ';' || t.s[i] == '\n' || t.s[i] == '\r')
			return true;
	return false;
}

/* What spreadsheets run, or skip before what they run; the last are the wide forms of Japanese and
 * Chinese. */
static bool is_formula(struct text t)
{
	static const char *const begins[] = { "=", "+", "-", "@", "\t", "\r", "\n", "\xef\xbc\x9d",
					      "\xef\xbc\x8b", "\xef\xbc\x8d", "\xef\xbc\xa0" };

	for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
		if (t.len >= strlen(begins[i]) && memcmp(t.s, begins[i], strlen(begins[i])) == 0)
			return true;
	return false;
}

bool csv_cell(struct text t, bool is_number, csv_put *put, void *to)
{
	bool formula = !is_number && is_formula(t);
	bool quoted = formula || needs_quotes(t);

	if ((quoted && !put(to, "\"", 1)) || (formula && !put(to, "'", 1)))
		return false;
	while (t.len) {                         /* up to each quote, which is written twice */
		const char *quote = memchr(t.s, '"', t.len);
		size_t n = quote ? (size_t)(quote - t.s) + 1 : t.len;

		if (!put(to, t.s, n) || (quote && !put(to, "\"", 1)))
			return false;
		t.s += n;
		t.len -= n;
	}
	return !quoted || put(to, "\"", 1);
}

static bool put_buf(void *to, const void *bytes, size_t n)
{
	return buf_add(to, bytes, n);
}

static bool add_text(struct buf *out, const char *s, size_t n, bool is_number)
{
	return csv_cell((struct text){ s, n }, is_number, put_buf, out);
}

static bool add_cell(struct buf *out, struct json_object *v)
{
	bool is_number = json_object_is_type(v, json_type_int) || json_object_is_type(v, json_type_double);
	const char *s = v ? json_object_get_string(v) : "";
	size_t n =
		json_object_is_type(v, json_type_string) ? (size_t)json_object_get_string_len(v) : strlen(s);

	return add_text(out, s, n, is_number);
}

static bool add_names(struct buf *out, const struct columns *c, const char *prefix, bool first)
{
	bool ok = true;

	for (size_t i = 0; i < c->n && ok; i++, first = false)
		ok = (first || buf_addc(out, ',')) && buf_adds(out, prefix) &&
		     add_text(out, c->name[i], strlen(c->name[i]), *prefix);
	return ok;
}

static bool add_cells(struct buf *out, const struct columns *c, struct json_object *row, bool first)
{
	bool ok = true;

	for (size_t i = 0; i < c->n && ok; i++, first = false) {
		struct json_object *v = NULL;

		json_object_object_get_ex(row, c->name[i], &v);
		ok = (first || buf_addc(out, ',')) && add_cell(out, v);
	}
	return ok;
}

static struct json_object *list_in(struct json_object *o, const char *name)
{
	struct json_object *list = NULL;

	if (name && json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, name, &list);
	return json_object_is_type(list, json_type_array) ? list : NULL;
}

static bool add_row(struct buf *out, const struct columns *c, const struct columns *cc,
		    struct json_object *row, const char *children)
{
	struct json_object *list = list_in(row, children);
	size_t n = list ? json_object_array_length(list) : 1;
	bool ok = true;

	for (size_t i = 0; i < n && ok; i++)
		ok = add_cells(out, c, row, true) &&
		     (!list || add_cells(out, cc, json_object_array_get_idx(list, i), c->n == 0)) &&
		     buf_adds(out, "\r\n");
	return ok;
}

bool csv_write(struct json_object *data, const char *rows, const char *children, struct buf *out)
{
	struct json_object *list = list_in(data, rows), *first, *inner;
	struct columns c, cc;
	bool ok;

	if (!list || json_object_array_length(list) == 0)
		return true;
	first = json_object_array_get_idx(list, 0);
	inner = list_in(first, children);
	collect(first, &c);
	collect(inner ? json_object_array_get_idx(inner, 0) : NULL, &cc);
	ok = add_names(out, &c, "", true) && add_names(out, &cc, "app_", c.n == 0) && buf_adds(out, "\r\n");
	for (size_t i = 0; i < json_object_array_length(list) && ok; i++)
		ok = add_row(out, &c, &cc, json_object_array_get_idx(list, i), children);
	return ok;
}
