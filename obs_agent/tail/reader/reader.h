/*
 * reader.h - from the bytes of a stream to log samples.
 *
 * Owns the block buffer and the line parser. Promises that the position only
 * ever stands behind a newline, that a line is handed over once, and that an
 * over-long line costs no memory: it is cut, marked, and counted in a gap row.
 * Lines of plain text that belong together are one sample: the position stays
 * before them until it is known where they end.
 */
#ifndef OBS_AGENT_READER_H
#define OBS_AGENT_READER_H

#include "obs_agent/agent.h"
#include "wire/log/log_line.h"
#include "wire/log/multiline.h"
#include "obs_agent/tail/stream.h"

struct reader {
	struct agent *agent;
	struct line_parser parser;
	struct multiline_room room;
	struct zone zone;               /* the machine's */
	struct zones zones;             /* that lines name */
	char *block;                    /* LINE_BYTES_MAX + 1 bytes */
	struct rate_limit_held held;    /* back from this block, since there were too many */
	int64_t lines, bytes, cut;      /* handed over since the start */
	int64_t of_others;              /* of the lines, those of no agent's own log */
	int64_t suppressed;             /* lines that were not, since there were too many */
	int64_t read;                   /* bytes read from files, whatever became of them */
};

enum reader_result {
	READER_END,        /* nothing more to read now */
	READER_FAILED,     /* the file can't be read: errno says why */
	READER_MORE,       /* one block is done, there may be more */
	READER_FULL,       /* the batch is full: go on when there is room */
	READER_OTHER_TEXT, /* the file was truncated and filled again: nothing of this was handed over */
};

int reader_init(struct reader *r, struct agent *a, struct err *e);

/* Take the machine's time zone as it is now; where it is not known, UTC and a warning. */
void reader_set_zone(struct reader *r);
void reader_free(struct reader *r);

/* Read at most one block of `s`. `settled`: lines of plain text at its end need not
 * wait for more that belongs to them. */
enum reader_result reader_read(struct reader *r, struct stream *s, bool settled);

/* Make the stream known to the database, where it is not yet. False: the batch is full. */
bool reader_tell(struct reader *r, struct stream *s);

/* The file is over: hand over what stands behind the last newline, marked, and
 * declare the stream finished. False: the batch is full, try again. A
 * file that can't be read is not over. */
bool reader_finish(struct reader *r, struct stream *s);

/* Nobody wants to read on: declare the stream finished where it stands, behind its last newline. False: the
 * batch is full, try again. */
bool reader_let_go(struct reader *r, struct stream *s);

/* What stood behind the position was cut off, what stands before it was not: count
 * it, and look again from the position. */
void reader_cut_off(struct reader *r, struct stream *s);

/* What is known to be missing, and in no batch yet, goes into the one that fills. False: it is full. */
bool reader_tell_lost(struct reader *r, struct stream *s);

/* A gap row about a stream. */
void reader_gap(struct reader *r, int64_t stream_id, const char *kind, int64_t lines, int64_t bytes,
		const char *detail);

#endif
