/*
 * json_distinct.h - no two equal keys in one object.
 *
 * jsonb, like most readers of JSON, silently keeps only the last of equal keys. Here the last
 * one keeps its name, and the others are renamed to name_2, name_3 ... in their order,
 * skipping names that the object already has. Keys are compared by their characters:
 * "a" and "\u0061" are equal.
 */
#ifndef WIRE_JSON_DISTINCT_H
#define WIRE_JSON_DISTINCT_H

#include <stdbool.h>

#include "common/buf.h"

/* Append `json`, an object that json_value() accepted, with its keys made distinct at
 * every depth; all else is copied as it stands. False: out of memory or room. */
bool json_distinct(struct text json, struct buf *out);

#endif
