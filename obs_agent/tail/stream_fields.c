/*
 * stream_fields.c - what others read of a stream, and the changes by which nothing else happens.
 */
#include <stdio.h>

#include "common/clock.h"
#include "stream_fields.h"

const struct identity *stream_file(const struct stream *s)
{
	return &s->file;
}

const struct extent *stream_extent(const struct stream *s)
{
	return &s->seen;
}

const struct progress *stream_progress(const struct stream *s)
{
	return &s->at;
}

const struct zeros *stream_zeros(const struct stream *s)
{
	return &s->zeros;
}

const struct group *stream_group(const struct stream *s)
{
	return &s->group;
}

const struct loss *stream_loss(const struct stream *s)
{
	return &s->loss;
}

const struct search_state *stream_search(const struct stream *s)
{
	return &s->search;
}

struct stream_links *stream_links(struct stream *s)
{
	return &s->links;
}

struct reading *stream_reading(struct stream *s)
{
	return &s->reading;
}

struct stream *stream_next(const struct stream *s)
{
	return s->links.next;
}

const char *stream_path(const struct stream *s)
{
	return s->place.path;
}

const char *stream_log_path(const struct stream *s)
{
	return s->place.log_path;
}

bool stream_is_unlinked(const struct stream *s)
{
	return s->place.unlinked;
}

int64_t stream_size(const struct stream *s)
{
	return s->seen.size;
}

int64_t stream_offset(const struct stream *s)
{
	return s->at.position;
}

int64_t stream_scanned(const struct stream *s)
{
	return s->at.scanned;
}

int64_t stream_id(const struct stream *s)
{
	return s->id;
}

int stream_fd(const struct stream *s)
{
	return s->fd;
}

bool stream_is_copy(const struct stream *s)
{
	return s->copy;
}

bool stream_is_dirty(const struct stream *s)
{
	return s->dirty;
}

bool stream_is_told(const struct stream *s)
{
	return s->told;
}

void stream_set_copy(struct stream *s)
{
	s->copy = true;
}

void stream_set_dirty(struct stream *s, bool dirty)
{
	s->dirty = dirty;
}

void stream_set_told(struct stream *s)
{
	s->told = true;
}

void stream_set_log_path(struct stream *s, const char *path)
{
	snprintf(s->place.log_path, sizeof s->place.log_path, "%s", path);
}

void stream_set_moved(struct stream *s)
{
	s->place.moved = true;
}

void stream_set_scanned(struct stream *s, int64_t to)
{
	s->at.scanned = to;
}

/* ---- zeros, and lines that wait ---- */

void stream_set_zeros(struct stream *s, int64_t to)
{
	s->zeros.to = to;
}

void stream_forget_stale_zeros(struct stream *s, bool text_is_new)
{
	if (!text_is_new && !stream_same_time(s->zeros.written, s->seen.written))
		s->zeros.to = 0;
	s->zeros.written = s->seen.written;
}

void stream_open_group(struct stream *s, bool is_new)
{
	if (!s->group.open || is_new)
		s->group.since_us = mono_us();
	s->group.open = true;
}

void stream_close_group(struct stream *s)
{
	s->group.open = false;
}

/* ---- what is missing ---- */

void stream_set_loss(struct stream *s, int64_t bytes, const char *why)
{
	s->loss = (struct loss){ .bytes = bytes, .why = why };
}

void stream_loss_told(struct stream *s)
{
	s->loss.told = s->loss.bytes != 0;
}

void stream_loss_committed(struct stream *s)
{
	s->loss = (struct loss){ 0 };
}

bool stream_is_cut_off(const struct stream *s)
{
	return s->seen.cut || s->seen.size < s->seen.top || s->seen.size < s->at.scanned;
}

void stream_cut_off(struct stream *s)
{
	int64_t unread = s->seen.top - s->at.position;

	stream_set_loss(s, unread > 0 ? unread : 0, "lines that were not read were cut off");
	s->seen.top = s->seen.size;
	s->seen.cut = false;
	s->at.scanned = s->at.position;
	s->group.open = false;
}

/* ---- the search for other files of its log ---- */

void stream_search_since(struct stream *s, int64_t since_us)
{
	if (s->search.since_us > since_us)
		s->search.since_us = since_us;
}

void stream_set_searched(struct stream *s, struct timespec folder_changed)
{
	s->search.searched = folder_changed;
}

void stream_search_again(struct stream *s)
{
	stream_set_searched(s, (struct timespec){ 0 });
}

void stream_search_for_a_while(struct stream *s)
{
	s->search.until_us = mono_us() + STREAM_SEARCH_S * US_PER_S;
}
