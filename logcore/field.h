/*
 * field.h - fields as members of a JSON object. Private to the library.
 *
 * Promises what json.h does: whole members, valid JSON, nothing behind the end.
 */
#ifndef LOGCORE_FIELD_H
#define LOGCORE_FIELD_H

#include <stdbool.h>

#include "json.h"
#include "logcore.h"

/* "key":value, and "k1":v1,"k2":v2 for a list that ends with logcore_end_(). A
 * comma goes in front of the first one when `comma`. */
void logcore_fields(struct json *j, const struct logcore_field *f, bool comma);

#endif
