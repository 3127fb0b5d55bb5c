/*
 * field.h - fields as members of a JSON object. Private to the library.
 *
 * Makes the same promises as json.h: whole members, valid JSON, nothing behind the end.
 */
#ifndef LOGCORE_FIELD_H
#define LOGCORE_FIELD_H

#include <stdbool.h>

#include "json.h"
#include "logcore.h"

/* Write "key":value; for a list that ends with logcore_end_(), "k1":v1,"k2":v2. With
 * `comma`, a comma precedes the first member. */
void logcore_fields(struct json *j, const struct logcore_field *f, bool comma);

#endif
