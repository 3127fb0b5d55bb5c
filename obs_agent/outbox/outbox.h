/*
 * outbox.h - keeps samples that can't be read again (metrics, checks, gaps) until they are
 * committed.
 *
 * Owns the files of a folder, or memory if there is no folder. What one process appends is a
 * stream, like a log file: its position is committed with its rows, so each sample is delivered
 * once, whichever process dies when. The next process finds the files and delivers the rest.
 * Promises that its size is bounded (the oldest samples are dropped and counted in a gap), that a
 * folder that fails stops nothing, and that each lost sample is counted.
 */
#ifndef OBS_AGENT_OUTBOX_H
#define OBS_AGENT_OUTBOX_H

#include <stdbool.h>

#include "logcore/logcore.h"
#include "wire/batch.h"


struct outbox;

/* `folder` must outlive the outbox; NULL: keep samples in memory only. Returns NULL when out of
 * memory. */
struct outbox *outbox_open(const char *folder, struct logcore *log);
void outbox_close(struct outbox *o);

/* Append a sample that is not a log line. `late`: the database is away. */
void outbox_add(struct outbox *o, const struct sample *s, bool late);

/* Copy into the batch at most `max` records that no batch has yet, and the positions of their
 * streams. `last`: no more samples will come. */
void outbox_fill(struct outbox *o, struct batch *b, size_t max, bool last);

/* A batch that outbox_fill() filled has been committed. */
void outbox_committed(struct outbox *o, const struct batch *b);

/* The positions in the database, log streams included. Batches have been emptied: what is not
 * committed is copied again. */
void outbox_positions(struct outbox *o, const struct position *p, size_t n);

/* Are there records for the next batch? Is everything committed (`last` as above)? */
bool outbox_has_unread(const struct outbox *o);
bool outbox_is_empty(const struct outbox *o, bool last);

struct outbox_state {
	int64_t samples, bytes;         /* not committed */
	int64_t lost;                   /* samples that this process dropped; gaps count them */
	bool in_memory;                 /* pending samples would be lost with the process */
	const char *trouble;            /* why; "" */
};
struct outbox_state outbox_state(const struct outbox *o);

#endif
