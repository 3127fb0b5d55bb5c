/*
 * row_json.h - rare samples (metrics, checks, gaps, rejects) as the members of a JSON array, in
 * the order in which the push functions of schema.sql read them.
 *
 * Leaves out the first members, the time and whether the row is late: the batch adds them
 * when it is sent.
 */
#ifndef WIRE_ROW_JSON_H
#define WIRE_ROW_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "sample.h"

/* Append ",member,member..." of a sample that is no log line. False: no room;
 * what is there of it then is for the caller to cut off. */
bool row_add(struct buf *out, const struct sample *s);

/* A row of rejects: what the server refused of a stream, and why. */
bool row_add_reject(struct buf *out, int64_t stream_id, int64_t offset, const char *sqlstate, const char *reason,
		    struct text raw);

/* ",value": for rows that others put together. */
bool row_add_integer(struct buf *out, int64_t v);
bool row_add_bool(struct buf *out, bool v);
bool row_add_string(struct buf *out, struct text t);            /* absent: null */

#endif
