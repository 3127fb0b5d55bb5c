/* json_get.h - members of JSON objects that may be missing or of another type. */
#ifndef COMMON_JSON_GET_H
#define COMMON_JSON_GET_H

#include <json-c/json.h>
#include <stdbool.h>

/* NULL: not there, or null. Accepts NULL. */
static inline struct json_object *json_get(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	return json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, name, &v) ? v : NULL;
}

/* A text or number as text; "": not there, or an object or array. */
static inline const char *json_text(struct json_object *o, const char *name)
{
	struct json_object *v = json_get(o, name);

	return !v || json_object_is_type(v, json_type_object) || json_object_is_type(v, json_type_array)
		       ? ""
		       : json_object_get_string(v);
}

/* A walk over the members of an object. Anything else has none. */
struct json_members {
	struct json_object *of;
	struct json_object_iterator at, end;
};

static inline struct json_members json_members(struct json_object *o)
{
	struct json_members w = { .of = json_object_is_type(o, json_type_object) ? o : NULL };

	if (w.of) {
		w.at = json_object_iter_begin(o);
		w.end = json_object_iter_end(o);
	}
	return w;
}

static inline bool json_next(struct json_members *w, const char **ret_name, struct json_object **ret_value)
{
	if (!w->of || json_object_iter_equal(&w->at, &w->end))
		return false;
	*ret_name = json_object_iter_peek_name(&w->at);
	*ret_value = json_object_iter_peek_value(&w->at);
	json_object_iter_next(&w->at);
	return true;
}

/* The members of `from` become members of `to`, too. */
static inline void json_add_all(struct json_object *to, struct json_object *from)
{
	struct json_members w = json_members(from);
	struct json_object *value;
	const char *name;

	while (json_next(&w, &name, &value))
		json_object_object_add(to, name, json_object_get(value));
}

static inline size_t json_length(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

#endif
