/*
 * log_line.h - one record of a log file becomes one log sample.
 *
 * Promises that whatever bytes come in, what comes out is a row that PostgreSQL accepts: valid
 * UTF-8 without NUL, context a JSON object that jsonb takes, a time that can be. logcore's lines
 * are the hot path: they are scanned once, and nothing is allocated. Everything else is read by
 * its parts: log_object.h for JSON, log_text.h and log_fields.h for text; a line in a wrapper
 * (a container's, syslog's) is read again inside. Leaves out where the line came from.
 */
#ifndef WIRE_LOG_LINE_H
#define WIRE_LOG_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "log_context.h"
#include "log_memo.h"
#include "log_object.h"
#include "log_time.h"
#include "wire/sample.h"

enum {
	LINE_BYTES_MAX = 256 * 1024,    /* longer lines are cut by the tail source */
	LINE_SECOND = 19,               /* bytes of "2026-11-21T02:39:14" */
};

/* As what a record was read. */
enum line_form { LINE_PLAIN, LINE_PREFIXED, LINE_ACCESS, LINE_PAIRS, LINE_CSV, LINE_JSON, LINE_FORMS };

struct line_found {
	enum line_form form;
	bool wrapped;                   /* in the line of a container's log */
	bool timed, leveled;            /* it has a time, a level of its own */
};

/* "JSON", "access log": for people. */
extern const char *const line_form_names[LINE_FORMS];

/* Memory that is used again for each line, and how to read this one. */
struct line_parser {
	struct log_clock clock;         /* the caller sets zone and last_us; now_us is set here */
	struct log_memo *memo;          /* of the same lines, to read each once; NULL: none */
	bool raw;                       /* the line as it stands is the message */
	bool warn_4xx;                  /* in access logs, a status of 400 to 499 is a WARNING */
	struct line_found found;        /* set by line_parse() */

	struct buf clean;               /* the line as UTF-8; this and the next two: the rare bad line */
	struct buf repaired;            /* JSON without what PostgreSQL refuses */
	struct buf lenient;             /* JSON from what is not quite JSON */
	struct buf plain;               /* the line without colours */
	struct buf inside;              /* what a wrapper holds */
	struct buf message;             /* a message or logger that had escapes */
	struct buf logger;
	struct log_context context;
	struct members members;         /* of the object; here, for it is large */
	char second[LINE_SECOND];       /* of the last timestamp that logcore wrote, ... */
	int64_t second_us;              /* ... and what it is */
};

void line_parser_init(struct line_parser *p);
void line_parser_free(struct line_parser *p);

/*
 * Parse `raw` (without its last newline) into s->timestamp_us and s->log, except for
 * stream_id and offset. `now_us` is the arrival time, wall clock. `mark` is
 * added to the context, as in "\"_cut_bytes\":1048576"; NULL for none. The
 * spans in *s point into `raw` or into the parser, until the next call.
 */
void line_parse(struct line_parser *p, struct text raw, int64_t now_us, const char *mark, struct sample *s);

#endif
