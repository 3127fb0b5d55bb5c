#include "queue.h"

#include <stdlib.h>

struct queue *queue_find(struct queue *list, int64_t stream_id)
{
	for (struct queue *q = list; q; q = q->next)
		if (q->stream_id == stream_id)
			return q;
	return NULL;
}

struct queue *queue_add(struct queue **list, const struct queue *last, int64_t started_us, int64_t stream_id)
{
	struct queue *q = calloc(1, sizeof *q);

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

void queue_remove(struct queue **list, struct queue *gone)
{
	while (*list != gone)
		list = &(*list)->next;
	*list = gone->next;
	while (gone->first) {
		struct segment *s = gone->first;

		gone->first = s->next;
		segment_free(s);
	}
	free(gone);
}

void queue_append(struct queue *q, struct segment *s)
{
	struct segment **at = &q->first;

	while (*at && (*at)->base < s->base)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
	q->end = q->end < s->end ? s->end : q->end;
}

void queue_give_up_first(struct queue *q, int folder)
{
	struct segment *s = q->first;

	q->first = s->next;
	segment_give_up(folder, s);
	segment_free(s);
}

bool queue_read(const struct queue *q, int64_t position, struct buf *room, struct segment_read *ret)
{
	int64_t skipped = 0;

	for (const struct segment *s = q->first; s; s = s->next) {
		if (s->end <= position)
			continue;
		if (s->base > position) {
			skipped += s->base - position;
			position = s->base;
		}
		if (s->fd >= 0 && segment_read(s, position, room, ret)) {
			ret->skipped += skipped;
			return true;
		}
		skipped += s->fd >= 0 ? s->end - position : s->told > position ? s->told - position : 0;
		position = s->end;
	}
	*ret = (struct segment_read){ .next = q->end, .skipped = skipped };
	return false;
}

struct queue_tally queue_count(const struct queue *q, int64_t from, int64_t to, struct buf *room)
{
	struct queue_tally t = { 0 };
	struct segment_read r;

	for (; from < to && queue_read(q, from, room, &r) && r.at < to; from = r.next) {
		t.first_us = t.first_us ? t.first_us : r.record.timestamp_us;
		t.samples += r.record.kind != SAMPLE_GAP;
		t.told_lost += r.lost;
	}
	return t;
}

size_t queue_segments(const struct queue *list, bool in_memory)
{
	size_t n = 0;

	for (const struct queue *q = list; q; q = q->next)
		for (const struct segment *s = q->first; s; s = s->next)
			n += s->fd >= 0 && (!in_memory || s->in_memory);
	return n;
}

int64_t queue_bytes(const struct queue *list)
{
	int64_t n = 0;

	for (const struct queue *q = list; q; q = q->next)
		for (const struct segment *s = q->first; s; s = s->next)
			n += s->fd >= 0 ? s->end - s->base : 0;
	return n;
}
