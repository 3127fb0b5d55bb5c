#include "openapi_page.h"

#include <json-c/json.h>

#include "fleet_hub/routes.h"
#include "openapi.h"
#include "openapi_row.h"

static void set_text(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, value ? json_object_new_string(value) : NULL);
}

static struct json_object *new_list(struct json_object *o, const char *key)
{
	struct json_object *list = json_object_new_array();

	json_object_object_add(o, key, list);
	return list;
}

static struct json_object *new_item(struct json_object *list)
{
	struct json_object *o = json_object_new_object();

	json_object_array_add(list, o);
	return o;
}

/* ---- operations ------------------------------------------------------------------------------------- */

static void add_params(struct json_object *operation, const struct route *row)
{
	struct row_param params[ROW_PARAMS_MAX];
	size_t n = row_params(row, params);
	struct json_object *list = new_list(operation, "params");

	for (size_t i = 0; i < n; i++) {
		struct json_object *o = new_item(list);

		set_text(o, "name", params[i].name);
		set_text(o, "in", params[i].in);
		set_text(o, "sentence", params[i].sentence);
		set_text(o, "otherwise", params[i].otherwise);
	}
}

static void add_answers(struct json_object *operation, const struct route *row)
{
	struct route_answer answers[ROW_ANSWERS_MAX];
	size_t n = row_answers(row, answers);
	struct json_object *list = new_list(operation, "refusals");

	set_text(operation, "gives", answers[0].response);
	json_object_object_add(operation, "status", json_object_new_int(answers[0].status));
	for (size_t i = 1; i < n; i++) {
		struct json_object *o = new_item(list);

		set_text(o, "response", answers[i].response);
		json_object_object_add(o, "status", json_object_new_int(answers[i].status));
	}
}

static void add_others(struct json_object *operation, const struct route *row)
{
	struct json_object *also = json_object_new_object(), *paths = new_list(also, "paths");
	char path[ROW_PATH_SIZE];

	for (size_t k = 0; k < ROUTE_ALSO_MAX && row->also[k]; k++) {
		row_path(row->also[k], path);
		set_text(new_item(paths), "path", path);
	}
	json_object_object_add(operation, "also", also);
}

static void add_operation(struct json_object *list, const struct route *row)
{
	struct json_object *o = new_item(list);
	char path[ROW_PATH_SIZE];

	row_path(row->path, path);
	set_text(o, "method", row_method(row));
	set_text(o, "path", path);
	if (row->also[0])
		add_others(o, row);
	set_text(o, "summary", row->doc.summary);
	set_text(o, "role", row_role(row));
	set_text(o, "limit", row_limit(row));
	set_text(o, "takes", row->doc.takes);
	set_text(o, "form", row->doc.form);
	add_params(o, row);
	add_answers(o, row);
}

/* The operations of that tag; a new list if there is none. */
static struct json_object *operations_of(struct json_object *subjects, struct text tag)
{
	struct json_object *subject = NULL, *name = NULL, *operations = NULL;

	for (size_t i = 0; i < json_object_array_length(subjects); i++) {
		subject = json_object_array_get_idx(subjects, i);
		json_object_object_get_ex(subject, "tag", &name);
		if (text_eq(tag, text_of(json_object_get_string(name)))) {
			json_object_object_get_ex(subject, "operations", &operations);
			return operations;
		}
	}
	subject = new_item(subjects);
	json_object_object_add(subject, "tag", json_object_new_string_len(tag.s, (int)tag.len));
	return new_list(subject, "operations");
}

/* ---- components --------------------------------------------------------------------------------------- */

/* "    Name:" begins a component; what is indented deeper belongs to it. */
static bool begins(struct text line)
{
	return line.len > 5 && memcmp(line.s, "    ", 4) == 0 && line.s[4] >= 'A' && line.s[4] <= 'Z';
}

static void add_component(struct json_object *list, struct text t)
{
	const char *colon = memchr(t.s, ':', t.len);
	struct json_object *o = new_item(list);

	json_object_object_add(o, "name", json_object_new_string_len(t.s + 4, (int)(colon - t.s - 4)));
	json_object_object_add(o, "yaml", json_object_new_string_len(t.s, (int)t.len));
}

static void add_components(struct json_object *list, struct text all)
{
	struct text found = { NULL, 0 };

	while (all.len) {
		const char *end = memchr(all.s, '\n', all.len);
		struct text line = { all.s, end ? (size_t)(end - all.s) + 1 : all.len };
		bool inside = line.len > 4 && memcmp(line.s, "    ", 4) == 0;

		if (found.s && (begins(line) || !inside)) {
			add_component(list, found);
			found.s = NULL;
		}
		if (begins(line))
			found = line;
		else if (found.s)
			found.len += line.len;
		all = (struct text){ all.s + line.len, all.len - line.len };
	}
	if (found.s)
		add_component(list, found);
}

void openapi_page_decorate(const struct request *r, struct json_object *data)
{
	struct json_object *subjects = new_list(data, "subjects");
	size_t i = 0;

	(void)r;
	for (const struct route *row; (row = route_at(i)); i++)
		if (row->api && row->doc.summary)
			add_operation(operations_of(subjects, row_tag(row)), row);
	add_components(new_list(data, "components"), openapi_components());
}
