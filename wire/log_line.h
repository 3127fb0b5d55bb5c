/*
 * log_line.h - one line of a log file becomes one log sample.
 *
 * The hot path of the agent: a validating JSON scanner that builds no tree and allocates
 * nothing. Promises that any bytes become a row that PostgreSQL accepts: valid UTF-8
 * without NUL, a context that jsonb accepts, a timestamp near now. A line that is no JSON
 * object becomes the message of its row. Leaves out where the line came from.
 */
#ifndef WIRE_LOG_LINE_H
#define WIRE_LOG_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "sample.h"

enum {
	LINE_BYTES_MAX = 256 * 1024,    /* longer lines are cut by the tail source */
	LINE_DEPTH_MAX = 64,            /* nesting; deeper lines are kept as text */
	LINE_KEYS_MAX = 1000,           /* keys in all objects together; more: kept as text */
	LINE_EXTRAS_MAX = 128,          /* top-level keys that are not known; more: kept as text */
	LINE_SECOND = 19,               /* bytes of "2026-11-21T02:39:14" */
	LINE_PAST_DAYS = 30,            /* a timestamp outside [now - 30 days, now + 1 day] is */
	LINE_FUTURE_DAYS = 1,           /* replaced by the arrival time and kept in the context */
};

/* Memory that is used again for each line. */
struct line_parser {
	struct buf repaired;            /* the line, made valid; used for the rare bad line only */
	struct buf message;             /* a message or logger that had escapes */
	struct buf logger;
	struct buf context;             /* a context that had to be put together */
	struct buf distinct;            /* a context in which keys had to be renamed */
	char second[LINE_SECOND];       /* of the last timestamp that logcore wrote, ... */
	int64_t second_us;              /* ... and what it is */
};

void line_parser_init(struct line_parser *p);
void line_parser_free(struct line_parser *p);

/*
 * Parse `raw` (without its newline) into s->timestamp_us and s->log, except for
 * stream_id and offset. `now_us` is the arrival time, wall clock. `mark` is
 * added to the context, as in "\"_cut_bytes\":1048576"; NULL for none. The
 * spans in *s point into `raw` or into the parser, until the next call.
 */
void line_parse(struct line_parser *p, struct text raw, int64_t now_us, const char *mark, struct sample *s);

/* The level that a word stands for, in any case ("warn", "ERROR", "notice"). */
bool line_level(struct text word, enum log_level *ret);

#endif
