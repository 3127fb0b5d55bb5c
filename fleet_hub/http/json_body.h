/*
 * json_body.h - the body of a request as a JSON object, for functions of the database.
 *
 * The fields of a form become its members, as strings. Promises that an object which PostgreSQL would not
 * take, or would blow up (deep nesting, a NUL in a text, 1e100000), is refused.
 */
#ifndef FLEET_HUB_JSON_BODY_H
#define FLEET_HUB_JSON_BODY_H

#include "http.h"

struct json_object;

/* The caller puts *ret, also on failure. On failure e->code is the status of HTTP: 400 or 422, and *ret_field
 * the member of *ret that does not fit, or NULL. */
int json_body_read(const struct request *r, struct json_object **ret, const char **ret_field, struct err *e);

#endif
