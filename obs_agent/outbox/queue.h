/*
 * queue.h - what one process appended to the outbox: a stream of records in segments.
 *
 * Owns the order of the segments, and finding a record in them. Promises that what
 * is missing between two records is said, unless it was given up on purpose.
 */
#ifndef OBS_AGENT_QUEUE_H
#define OBS_AGENT_QUEUE_H

#include "segment.h"

struct queue {
	struct queue *next;             /* began later */
	int64_t started_us, stream_id;
	struct segment *first;          /* NULL: the files are gone */
	int64_t end;
	int64_t committed;              /* in the database */
	int64_t read;                   /* in a batch, or committed */
	bool over;                      /* the database knows that it is finished */
};

struct queue *queue_find(struct queue *list, int64_t stream_id);

/* In the order in which they began, but `last` stays last whatever the clock says. NULL: out of memory. */
struct queue *queue_add(struct queue **list, const struct queue *last, int64_t started_us, int64_t stream_id);

/* Forget the queue; its files stay. */
void queue_remove(struct queue **list, struct queue *gone);

void queue_append(struct queue *q, struct segment *s);

/* Remove the oldest segment and its file. */
void queue_give_up_first(struct queue *q, int folder);

/* The first record at or behind `position`; false: none. ret->skipped is what should have
 * been there and could not be read. */
bool queue_read(const struct queue *q, int64_t position, struct buf *room, struct segment_read *ret);

struct queue_tally {
	int64_t samples;
	int64_t told_lost;              /* what gaps among them say */
	int64_t first_us;               /* wall clock */
};

/* What stands between two positions. */
struct queue_tally queue_count(const struct queue *q, int64_t from, int64_t to, struct buf *room);

/* Segments of all queues that are there, or of those in memory; and their bytes. */
size_t queue_segments(const struct queue *list, bool in_memory);
int64_t queue_bytes(const struct queue *list);

#endif
