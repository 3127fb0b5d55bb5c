/*
 * json.h - JSON texts as objects of json-c.
 *
 * Promises that a text which is nested more deeply than the caller allows is refused. Leaves out writing.
 */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <json-c/json.h>

#include "common/buf.h"
#include "common/text.h"

/* For CLEANUP(). */
static inline void json_p(struct json_object **o)
{
	json_object_put(*o);
	*o = NULL;
}

/* The text as an object, which the caller puts; NULL: it is no JSON, `null`, absent or too deep. */
struct json_object *json_read(struct text t, int depth);

/* The same of an answer of the database. */
struct json_object *json_of(const struct buf *answer);

#endif
