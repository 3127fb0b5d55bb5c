/* json_get.h - members of JSON objects that may be missing or of another type. */
#ifndef FLEET_WATCH_JSON_GET_H
#define FLEET_WATCH_JSON_GET_H

#include <json-c/json.h>

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

static inline size_t json_length(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

#endif
