/*
 * row_json.h - samples as rows of JSON.
 *
 * Owns the table of the kinds of samples, and the order of a row's members, which is that of the push
 * functions of schema.sql. Each kind has one writer, for the array that the database takes and for the object
 * that people read. Leaves out the first members of an array, the time and whether the row is late: the batch
 * adds them.
 */
#ifndef WIRE_ROW_JSON_H
#define WIRE_ROW_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "sample.h"

struct row_writer;

struct row_kind {
	const char *name, *table;
	bool kept, measured;            /* see SAMPLE_KINDS */
	bool (*write)(const struct row_writer *w, const struct sample *s);
};

extern const struct row_kind row_kinds[SAMPLE_KIND_COUNT];      /* by enum sample_kind */

/* Append ",member,member..." of a sample that is no log line. False: no room;
 * what is there of it then is for the caller to cut off. */
bool row_add(struct buf *out, const struct sample *s);

/* Append any sample as one line of JSON with named members, as --dry-run shows what would be written. False:
 * out of memory. */
bool row_print(struct buf *out, const struct sample *s);

/* ",value": for rows that others put together. */
bool row_add_bool(struct buf *out, bool v);                     /* 1 or 0 */
bool row_add_string(struct buf *out, struct text t);            /* absent: null */

#endif
