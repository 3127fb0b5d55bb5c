/*
 * batch.h - samples on their way to one transaction.
 *
 * Owns copies of the samples in the form that the push functions of schema.sql take: JSON
 * rows for rare kinds (metrics, checks, gaps, positions), PostgreSQL's binary arrays for log
 * lines. Promises that a sample is added whole or not at all, and that memory is bounded.
 * Leaves out connections.
 */
#ifndef WIRE_BATCH_H
#define WIRE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "position.h"
#include "sample.h"

enum {
	BATCH_LOG_ROWS_MAX = 5000,
	BATCH_LOG_BYTES_MAX = 1 << 20,          /* payload that makes a batch full */
	BATCH_ROWS_BYTES_MAX = 4 << 20,         /* JSON rows of one kind */
	BATCH_RECORD_BYTES_MAX = 256 << 10,     /* those of all kinds that make a batch full */
	BATCH_STREAMS_MAX = 512,                /* streams that one batch can advance */
	BATCH_STREAMS_SPARE = 4,                /* of them for the outbox alone */
};

/* A row that the server refused, by where it comes from. It becomes a row of rejects. */
struct poison {
	int64_t stream_id, offset;
	char sqlstate[6];
	char reason[256];
};

/* A growing one-dimensional array in PostgreSQL's binary format. */
struct column {
	uint32_t elem_oid;
	bool has_null;
	struct buf data;                /* room for the header, then the elements */
};

enum log_column { COL_STREAM, COL_OFFSET, COL_TIMESTAMP, COL_LEVEL, COL_LOGGER, COL_MESSAGE,
		  COL_CONTEXT, LOG_COLUMNS };

struct batch {
	size_t n[SAMPLE_KIND_COUNT];            /* rows of each kind */
	struct buf json[SAMPLE_KIND_COUNT];     /* "[...],[...]": without the outer brackets; not of lines */
	size_t json_bytes;                      /* of all kinds */
	size_t n_records;                       /* rows that came out of the outbox */
	int64_t n_samples;                      /* of these, those that are measured */
	struct column log[LOG_COLUMNS];
	size_t log_bytes;
	size_t n_own;                           /* of the lines, those that are `own` */
	struct position *positions;             /* of which n_positions are in use */
	size_t n_positions, positions_cap;
	size_t recent;                          /* the position that was asked for last */
	int64_t first_stream, first_offset;     /* where its first row comes from */
	const struct poison *poison;            /* to be taken as a reject; NULL: none is known */
	int64_t seq;                            /* set when it is first sent, else 0 */
};

void batch_init(struct batch *b);
void batch_free(struct batch *b);
void batch_reset(struct batch *b);
bool batch_empty(const struct batch *b);

/*
 * Copy a sample into the batch. False: the batch is full or memory is short, and it is
 * as it was. A line needs its stream to be known by batch_set_position() first, at the
 * position where reading continues.
 */
bool batch_add(struct batch *b, const struct sample *s);

/* A row of a stream that holds rows (the outbox): `row` is what row_add() made,
 * `late` that it was not sent when it was new. */
struct record {
	enum sample_kind kind;
	int64_t timestamp_us;
	bool late;
	struct text row;
};
bool batch_add_record(struct batch *b, const struct record *r, int64_t stream_id, int64_t offset);

/* Record that the stream is read up to p->to once this batch commits. The first
 * call for a stream keeps its `from`; later ones move the rest. False: full. */
bool batch_set_position(struct batch *b, const struct position *p);

/* Full enough to be sent without waiting. */
bool batch_full(const struct batch *b);

/* Its rows other than log lines are enough to be sent without waiting. */
bool batch_full_of_records(const struct batch *b);

/* Rows that the server may refuse for what is in them; with those that it has refused; and all of them. */
size_t batch_rows(const struct batch *b);
size_t batch_rows_and_rejects(const struct batch *b);
size_t batch_all_rows(const struct batch *b);

/* The column as a parameter in binary format; points into the column. n > 0. */
struct text column_array(struct column *c, size_t n);

/* Append the rows of JSON: for each kind, in their order, a comma and an array, or 0 for none; nothing for
 * those behind the last that has any. */
bool batch_json(const struct batch *b, struct buf *out);

/* Append the positions as an array of rows of JSON, or 0 for none; the ids of the streams as a binary
 * array. */
bool batch_positions(const struct batch *b, struct buf *out);
bool batch_streams(const struct batch *b, struct buf *out);

#endif
