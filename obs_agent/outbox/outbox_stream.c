#include "outbox_stream.h"

#include <stdlib.h>

#include "wire/row_json.h"

struct outbox_stream *outbox_stream_find(struct outbox_stream *list, int64_t stream_id)
{
	for (struct outbox_stream *q = list; q; q = q->next)
		if (q->stream_id == stream_id)
			return q;
	return NULL;
}

struct outbox_stream *outbox_stream_add(struct outbox_stream **list, const struct outbox_stream *last,
					int64_t started_us, int64_t stream_id)
{
	struct outbox_stream *q = calloc(1, sizeof *q);

	if (!q)
		return NULL;
	q->started_us = started_us;
	q->stream_id = stream_id;
	while (*list && *list != last && (*list)->started_us <= started_us)
		list = &(*list)->next;
	q->next = *list;
	*list = q;
	return q;
}

void outbox_stream_remove(struct outbox_stream **list, struct outbox_stream *gone)
{
	while (*list != gone)
		list = &(*list)->next;
	*list = gone->next;
	while (gone->first) {
		struct outbox_segment *s = gone->first;

		gone->first = s->next;
		outbox_segment_free(s);
	}
	free(gone);
}

void outbox_stream_append(struct outbox_stream *q, struct outbox_segment *s)
{
	struct outbox_segment **at = &q->first;

	while (*at && (*at)->base < s->base)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
	q->end = q->end < s->end ? s->end : q->end;
}

void outbox_stream_give_up_first(struct outbox_stream *q, int folder)
{
	struct outbox_segment *s = q->first;

	q->first = s->next;
	outbox_segment_give_up(folder, s);
	outbox_segment_free(s);
}

bool outbox_stream_read(const struct outbox_stream *q, int64_t position, struct buf *scratch,
			struct outbox_segment_read *ret)
{
	int64_t skipped = 0;

	for (const struct outbox_segment *s = q->first; s; s = s->next) {
		if (s->end <= position)
			continue;
		if (s->base > position) {
			skipped += s->base - position;
			position = s->base;
		}
		if (s->fd >= 0 && outbox_segment_read(s, position, scratch, ret)) {
			ret->skipped += skipped;
			return true;
		}
		skipped += s->fd >= 0 ? s->end - position : s->told > position ? s->told - position : 0;
		position = s->end;
	}
	*ret = (struct outbox_segment_read){ .next = q->end, .skipped = skipped };
	return false;
}

struct outbox_stream_tally outbox_stream_count(const struct outbox_stream *q, int64_t from, int64_t to,
					       struct buf *scratch)
{
	struct outbox_stream_tally t = { 0 };
	struct outbox_segment_read r;

	for (; from < to && outbox_stream_read(q, from, scratch, &r) && r.at < to; from = r.next) {
		t.first_us = t.first_us ? t.first_us : r.record.timestamp_us;
		t.samples += row_kinds[r.record.kind].measured;
		t.told_lost += r.lost;
	}
	return t;
}

size_t outbox_stream_segments(const struct outbox_stream *list, bool in_memory)
{
	size_t n = 0;

	for (const struct outbox_stream *q = list; q; q = q->next)
		for (const struct outbox_segment *s = q->first; s; s = s->next)
			n += s->fd >= 0 && (!in_memory || s->in_memory);
	return n;
}

int64_t outbox_stream_bytes(const struct outbox_stream *list)
{
	int64_t n = 0;

	for (const struct outbox_stream *q = list; q; q = q->next)
		for (const struct outbox_segment *s = q->first; s; s = s->next)
			n += s->fd >= 0 ? s->end - s->base : 0;
	return n;
}
