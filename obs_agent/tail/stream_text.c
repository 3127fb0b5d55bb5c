/*
 * stream_text.c - is a file the one, or its text the one, that is known?
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "stream_fields.h"

/* Does the file begin as this head does? What can't be read is no objection: reading on will say
 * what is wrong. */
static bool begins_as(const struct stream *s, const struct head *h)
{
	char bytes[HEAD_MAX];
	ssize_t n = file_read_at(s->fd, bytes, sizeof bytes, 0);

	return n < 0 || head_fits(h, bytes, (size_t)n);
}

/* Nothing but zeros is at its beginning: somebody gave the space of old lines back (fallocate -p). The text
 * before the position then says alone what the file is. */
static bool begins_in_hole(const struct stream *s)
{
	static const char zeros[HEAD_MAX];
	char bytes[HEAD_MAX];
	ssize_t n = file_read_at(s->fd, bytes, sizeof bytes, 0);

	return n > 0 && memcmp(bytes, zeros, (size_t)n) == 0;
}

static bool has_head(const struct stream *s, const struct position *p, struct head *h)
{
	head_parse(h, p->head_hash);
	return begins_as(s, h);
}

bool stream_is(const struct stream *s, const struct position *p)
{
	struct head h;

	return identity_same_file(s->file.file_id, p->file_id) && s->seen.size >= p->to &&
	       (p->to == 0 ||
		((!p->head_hash[0] || has_head(s, p, &h) || begins_in_hole(s)) &&
		 fingerprint_holds(s->fd, p->to, p->tail_hash)));
}

int64_t stream_born_us(const struct stream *s)
{
	return s->file.born.tv_sec * US_PER_S + s->file.born.tv_nsec / 1000;
}

int64_t stream_made_us(const struct stream *s)
{
	int64_t born_us = stream_born_us(s),
		written_us = s->seen.written.tv_sec * US_PER_S + s->seen.written.tv_nsec / 1000;

	return born_us > written_us ? born_us : written_us;
}

bool stream_same_text(const struct stream *s, const struct stream *other)
{
	int64_t size = s->seen.size < other->seen.size ? s->seen.size : other->seen.size;
	size_t n = size < HEAD_MAX ? (size_t)size : HEAD_MAX;

	return n > 0 && file_same_bytes(s->fd, other->fd, n, 0) &&
	       file_same_bytes(s->fd, other->fd, n, size - (int64_t)n);
}

enum likeness stream_likeness(const struct stream *s, const struct position *p)
{
	struct head h;

	if (p->to == 0 || !has_head(s, p, &h))
		return UNLIKE;
	if (s->seen.size < p->to)
		return COPY_TOO_SHORT;
	return p->tail_hash[0] && fingerprint_holds(s->fd, p->to, p->tail_hash) ? COPY : UNLIKE;
}

bool stream_is_torn(const struct stream *s, const struct position *p)
{
	struct timespec up = { 0 };
	struct head h;

	clock_gettime(CLOCK_BOOTTIME, &up);
	return p->age_s > up.tv_sec && identity_same_file(s->file.file_id, p->file_id) &&
	       has_head(s, p, &h) && h.len == HEAD_MAX &&
	       s->seen.size >= HEAD_MAX && !stream_is(s, p);
}

bool stream_replaced(const struct stream *s, const char *path)
{
	return identity_replaced(&s->file, path);
}

bool stream_holds(const struct stream *s)
{
	char now[STREAM_TAIL_MAX];

	if (s->seen.size < s->at.position)
		return false;
	if (file_read_at(s->fd, now, s->at.tail_len, s->at.position - (int64_t)s->at.tail_len) ==
		    (ssize_t)s->at.tail_len &&
	    memcmp(now, s->at.tail, s->at.tail_len) != 0)
		return false;
	return s->seen.size <= s->at.scanned || s->at.head.len == 0 || begins_as(s, &s->at.head) ||
	       begins_in_hole(s);
}

bool stream_unchanged(struct stream *s)
{
	int64_t top = s->seen.top;
	struct stat st;

	if (fstat(s->fd, &st) < 0)
		return true;            /* reading will say what is wrong */
	stream_seen(s, &st);
	if (stream_holds(s)) {
		s->place.unproven = false;
		s->seen.held = st.st_size;
		return true;
	}
	s->seen.top = top;                   /* of the text that was read, not of the new one */
	return false;
}
