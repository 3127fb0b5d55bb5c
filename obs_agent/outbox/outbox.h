/*
 * outbox.h - samples that can't be read again (metrics, checks, what was lost),
 * from when they are made until they are committed.
 *
 * Owns the files of a folder, or memory where there is no folder. What one process
 * appends is a stream like a log file: its position is committed with its rows, so
 * that a sample is delivered once, whoever dies when. The next process finds the
 * files and delivers the rest. Promises bounded size (the oldest samples give way,
 * and are counted in a gap), that no trouble with the folder stops anything, and
 * that what is lost is counted.
 */
#ifndef OBS_AGENT_OUTBOX_H
#define OBS_AGENT_OUTBOX_H

#include <stdbool.h>

#include "logcore/logcore.h"
#include "wire/batch.h"

/* What the database calls its streams, where a log's has its path. */
#define OUTBOX_PATH "outbox"

struct outbox;

/* `folder` is kept; NULL: in memory only. Gives NULL when out of memory. */
struct outbox *outbox_open(const char *folder, struct logcore *log);
void outbox_close(struct outbox *o);

/* Append a sample that is no log line. `late`: the database is away. */
void outbox_add(struct outbox *o, const struct sample *s, bool late);

/* Copy at most `max` records that no batch has yet, with the positions of their streams. `last`: no
 * sample will come any more. */
void outbox_fill(struct outbox *o, struct batch *b, size_t max, bool last);

/* A batch that outbox_fill() filled is committed. */
void outbox_committed(struct outbox *o, const struct batch *b);

/* Where the database stands, streams of logs among them; no batch holds anything any more. */
void outbox_positions(struct outbox *o, const struct position *p, size_t n);

/* There is something for the next batch; all is committed (`last` as above). */
bool outbox_has_unread(const struct outbox *o);
bool outbox_is_empty(const struct outbox *o, bool last);

struct outbox_state {
	int64_t samples, bytes;         /* not committed */
	int64_t lost;                   /* samples given up by this process; they are counted in gaps */
	bool in_memory;                 /* would be lost with the process */
	const char *trouble;            /* why; "" */
};
struct outbox_state outbox_state(const struct outbox *o);

#endif
