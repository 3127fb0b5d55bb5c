/*
 * multiline.h - which lines of a file are one record.
 *
 * What begins like the records of this file begins one; what does not belongs to the one before.
 * How they begin is learnt from the file's own first lines. Beside that, stack traces and what is
 * indented or in braces belong together in any file. Lines in a container's wrapper are judged by
 * what is inside. Promises that the answer depends on the bytes alone, not on when they were read,
 * as long as a record is not handed over before it is known where it ends. A whole JSON object on
 * a line is a record by itself.
 */
#ifndef WIRE_MULTILINE_H
#define WIRE_MULTILINE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/line_start.h"
#include "common/text.h"
#include "log_memo.h"
#include "log_time.h"

enum {
	RECORD_BYTES_MAX = 64 * 1024,   /* a record of several lines is at most so long */
	RECORD_LINES_MAX = 500,
	LEARN_BYTES = 64 * 1024,        /* of a file's beginning are looked at */
};

enum line_shape {
	SHAPE_PLAIN, SHAPE_TIMED, SHAPE_LEVELED, SHAPE_PAIRS, SHAPE_OBJECT, SHAPE_CRASH, LINE_SHAPES
};

/* How the records of one file begin, as far as its first lines tell. All zero: nothing is known. */
struct multiline {
	unsigned begins[LINE_SHAPES];   /* records that begin so */
	unsigned records;
};

/* Memory that is used again for each line, and how to read this file. */
struct multiline_room {
	struct log_clock clock;
	const struct line_start *start; /* lines that match begin a record, and no others; NULL: as above */
	bool raw;                       /* each line is a record, or as `start` says; as it stands */
	struct buf inside;
	struct buf plain;
	struct log_memo memo;           /* a line_parser that reads the same lines may use it */
};

/*
 * `t` begins with a whole line and may end in the middle of one. Gives the length of the record
 * that begins it, without its last newline. *ret_open: `t` ends before it is known where the
 * record ends.
 */
size_t multiline_record(const struct multiline *m, struct multiline_room *r, struct text t, bool *ret_open);

/* Learn from a record, given from the beginning of the file on, in order, up to LEARN_BYTES. */
void multiline_learn(struct multiline *m, struct multiline_room *r, struct text record);

void multiline_room_init(struct multiline_room *r);
void multiline_room_free(struct multiline_room *r);

#endif
