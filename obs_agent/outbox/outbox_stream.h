/*
 * outbox_stream.h - the records that one process appended to the outbox, in segments.
 *
 * Owns the order of the segments, and finding a record in them. Promises to report bytes that are
 * missing between two records, unless they were dropped on purpose.
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
	bool over;                      /* the database has committed that it is finished */
};

struct outbox_stream *outbox_stream_find(struct outbox_stream *list, int64_t stream_id);

/* Add a stream to the list, in the order of their starts; `last` stays last, whatever the clock
 * says. Returns NULL when out of memory. */
struct outbox_stream *outbox_stream_add(struct outbox_stream **list, const struct outbox_stream *last,
					int64_t started_us, int64_t stream_id);

/* Remove the stream from the list; its files stay. */
void outbox_stream_remove(struct outbox_stream **list, struct outbox_stream *gone);

void outbox_stream_append(struct outbox_stream *q, struct outbox_segment *s);

/* Remove the oldest segment and its file. */
void outbox_stream_give_up_first(struct outbox_stream *q, int folder);

/* Read the first record at or after `position`; false: there is none. ret->skipped counts bytes that
 * should be there and could not be read. */
bool outbox_stream_read(const struct outbox_stream *q, int64_t position, struct buf *scratch,
			struct outbox_segment_read *ret);

struct outbox_stream_tally {
	int64_t samples;
	int64_t told_lost;              /* what gaps among them say */
	int64_t first_us;               /* wall clock */
};

/* Count the records between two positions. */
struct outbox_stream_tally outbox_stream_count(const struct outbox_stream *q, int64_t from, int64_t to,
					       struct buf *scratch);

/* The number of segments of all streams (or of those in memory), and their bytes. */
size_t outbox_stream_segments(const struct outbox_stream *list, bool in_memory);
int64_t outbox_stream_bytes(const struct outbox_stream *list);

#endif
