/*
 * outbox_stream.h - what one process appended to the outbox: a stream of records in segments.
 *
 * Owns the order of the segments, and finding a record in them. Promises that what
 * is missing between two records is said, unless it was given up on purpose.
 */
#ifndef OBS_AGENT_OUTBOX_STREAM_H
#define OBS_AGENT_OUTBOX_STREAM_H

#include "outbox_segment.h"

struct outbox_stream {
	struct outbox_stream *next;     /* began later */
	int64_t started_us, stream_id;
	struct outbox_segment *first;   /* NULL: the files are gone */
	int64_t end;
	int64_t committed;              /* in the database */
	int64_t read;                   /* in a batch, or committed */
	bool over;                      /* the database knows that it is finished */
};

struct outbox_stream *outbox_stream_find(struct outbox_stream *list, int64_t stream_id);

/* In the order in which they began, but `last` stays last whatever the clock says. NULL: out of memory. */
struct outbox_stream *outbox_stream_add(struct outbox_stream **list, const struct outbox_stream *last,
					int64_t started_us, int64_t stream_id);

/* Forget the stream; its files stay. */
void outbox_stream_remove(struct outbox_stream **list, struct outbox_stream *gone);

void outbox_stream_append(struct outbox_stream *q, struct outbox_segment *s);

/* Remove the oldest segment and its file. */
void outbox_stream_give_up_first(struct outbox_stream *q, int folder);

/* The first record at or behind `position`; false: none. ret->skipped is what should have
 * been there and could not be read. */
bool outbox_stream_read(const struct outbox_stream *q, int64_t position, struct buf *scratch,
			struct outbox_segment_read *ret);

struct outbox_stream_tally {
	int64_t samples;
	int64_t told_lost;              /* what gaps among them say */
	int64_t first_us;               /* wall clock */
};

/* What stands between two positions. */
struct outbox_stream_tally outbox_stream_count(const struct outbox_stream *q, int64_t from, int64_t to,
					       struct buf *scratch);

/* Segments of all streams that are there, or of those in memory; and their bytes. */
size_t outbox_stream_segments(const struct outbox_stream *list, bool in_memory);
int64_t outbox_stream_bytes(const struct outbox_stream *list);

#endif
