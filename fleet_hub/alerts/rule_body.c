#include "rule_body.h"

#include <json-c/json.h>

#include "common/cleanup.h"
#include "fleet_hub/logs/search.h"

/* Adds the tree of in's member `query`, if it has one. */
static int add_tree(struct json_object *in, const char *query, const char *tree, struct err *e)
{
	CLEANUP(search_free) struct search s = { 0 };
	struct json_object *text = NULL;

	if (!json_object_object_get_ex(in, query, &text) || !json_object_is_type(text, json_type_string))
		return 0;
	if (!search_parse(&s, (struct text){ json_object_get_string(text),
					     (size_t)json_object_get_string_len(text) }))
		return err_set(e, 500, "out of memory");
	if (s.note[0])
		return err_set(e, 422, "is not understood: %s", s.note);
	json_object_object_add(in, tree, json_tokener_parse(s.tree.data));
	return 0;
}

int rule_body_read(struct json_object *rule, const char **ret_field, struct err *e)
{
	struct json_object *params = NULL, *read = NULL;
	int rc;

	if (!json_object_is_type(rule, json_type_object))
		return 0;
	if (json_object_object_get_ex(rule, "params", &params) &&
	    json_object_is_type(params, json_type_string))
		read = json_tokener_parse(json_object_get_string(params));
	if (read) {
		json_object_object_add(rule, "params", read);
		params = read;
	}
	rc = add_tree(rule, "params.query", "params.tree", e);
	if (rc == 0 && json_object_is_type(params, json_type_object))
		rc = add_tree(params, "query", "tree", e);
	*ret_field = rc == -422 ? "params.query" : NULL;
	return rc;
}

int param_rule_body(struct params *p, const struct param *row, const char *value, struct err *e)
{
	struct json_object *body = NULL;
	int rc = params_body(p, &body, e);

	if (rc == 0)
		rc = rule_body_read(body, &p->field, e);
	return rc < 0 ? rc : param_body(p, row, value, e);
}
