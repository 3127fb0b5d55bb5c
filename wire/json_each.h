/*
 * json_each.h - walk over the members of an object or the elements of an array.
 *
 * Promises to visit each once, in order. The text must have passed json_value(): the walk looks for places,
 * not for mistakes. Leaves out nested values, which the caller walks by another call.
 */
#ifndef WIRE_JSON_EACH_H
#define WIRE_JSON_EACH_H

#include "json_scan.h"

struct json_each {
	struct json_scan scan;
	bool object;
	struct text key;  /* of an object: without quotes, ... */
	bool key_escapes; /* ... with its escapes as they stand */
	enum json_kind kind;
	struct text value;
};

/* Begin with a value. One that is neither object nor array has no members. */
struct json_each json_each(struct text value);

/* Go to the next member; false: there is none. */
bool json_next(struct json_each *e);

#endif
