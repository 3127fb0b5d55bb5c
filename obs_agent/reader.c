#include "reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../common/clock.h"

enum { BLOCK = LINE_BYTES_MAX + 1 };    /* a line of the longest length, and its newline */

int reader_init(struct reader *r, struct agent *a, struct err *e)
{
	*r = (struct reader){ .agent = a, .block = malloc(BLOCK) };
	if (!r->block)
		return err_set(e, ENOMEM, "out of memory for reading log files");
	line_parser_init(&r->parser);
	return 0;
}

void reader_free(struct reader *r)
{
	line_parser_free(&r->parser);
	free(r->block);
}

static ssize_t read_block(struct reader *r, struct stream *s, int64_t offset)
{
	ssize_t n;

	do
		n = pread(s->fd, r->block, BLOCK, offset);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		r->read += n;
	return n;
}

void reader_gap(struct reader *r, const struct stream *s, const char *kind, int64_t lines, int64_t bytes,
		const char *detail)
{
	struct sample gap = { .kind = SAMPLE_GAP, .timestamp_us = wall_us(),
			      .gap = { .stream_id = s->id, .kind = kind, .lines = lines, .bytes = bytes,
				       .detail = text_of(detail) } };

	agent_add(r->agent, &gap);
}

/* Make the stream known to the batch that fills now, or move it there. */
static bool advance(struct reader *r, struct stream *s)
{
	struct position p;

	stream_position(s, &p);
	return agent_advance(r->agent, &p);
}

static bool hand_over(struct reader *r, const struct stream *s, struct text line, int64_t offset, int64_t now_us,
		      const char *mark)
{
	struct sample sample;

	if (line.len == 0)
		return true;
	line_parse(&r->parser, line, now_us, mark, &sample);
	sample.log.stream_id = s->id;
	sample.log.offset = offset;
	if (!agent_add(r->agent, &sample))
		return false;
	r->lines++;
	return true;
}

/* Hand over the whole lines of the block; gives how many bytes they are. */
static size_t take_lines(struct reader *r, const struct stream *s, size_t n, bool *ret_full)
{
	int64_t now_us = wall_us();
	size_t at = 0;

	*ret_full = false;
	while (at < n) {
		const char *line = r->block + at, *newline = memchr(line, '\n', n - at);
		size_t len;

		if (!newline)
			break;
		len = (size_t)(newline - line);
		if (!hand_over(r, s, (struct text){ line, len }, s->position + (int64_t)at, now_us, NULL)) {
			*ret_full = true;
			break;
		}
		at += len + 1;
	}
	return at;
}

/*
 * A line longer than a block: look for its newline without keeping anything,
 * then hand over its first LINE_BYTES_MAX bytes. Until the newline is there
 * nothing is handed over, so that a restart finds everything as it was.
 */
static enum reader_result read_long_line(struct reader *r, struct stream *s)
{
	char mark[48], detail[96];
	int64_t end, length;
	const char *newline;
	ssize_t n = read_block(r, s, s->scanned);

	if (n <= 0)
		return n < 0 ? READER_FAILED : READER_END;
	newline = memchr(r->block, '\n', (size_t)n);
	if (!newline) {
		s->scanned += n;
		return READER_MORE;
	}
	end = s->scanned + (newline - r->block) + 1;
	length = end - 1 - s->position;
	n = read_block(r, s, s->position);
	if (n < LINE_BYTES_MAX)
		return READER_END;      /* truncated meanwhile: the next look will see it */
	if (memchr(r->block, '\n', (size_t)n)) {
		s->scanned = s->position;       /* truncated and filled again: other lines */
		return READER_MORE;
	}
	snprintf(mark, sizeof mark, "\"_cut_bytes\":%" PRId64, length);
	if (!hand_over(r, s, (struct text){ r->block, LINE_BYTES_MAX }, s->position, wall_us(), mark))
		return READER_FULL;
	snprintf(detail, sizeof detail, "a line of %" PRId64 " bytes at byte %" PRId64 " was cut", length,
		 s->position);
	reader_gap(r, s, "line_cut", 1, length - LINE_BYTES_MAX, detail);
	r->cut++;
	r->bytes += end - s->position;
	stream_jump(s, end);
	advance(r, s);
	return READER_MORE;
}

enum reader_result reader_read(struct reader *r, struct stream *s)
{
	size_t taken;
	bool full;
	ssize_t n;

	if (!advance(r, s))
		return READER_FULL;
	if (s->scanned - s->position > LINE_BYTES_MAX)
		return read_long_line(r, s);
	n = read_block(r, s, s->position);
	if (n <= 0)
		return n < 0 ? READER_FAILED : READER_END;
	taken = take_lines(r, s, (size_t)n, &full);
	if (taken > 0) {
		r->bytes += (int64_t)taken;
		stream_advance(s, s->position + (int64_t)taken, r->block + taken, taken);
		advance(r, s);
	}
	if (full)
		return READER_FULL;
	if (taken == 0)
		s->scanned = s->position + n;
	return n == BLOCK ? READER_MORE : READER_END;
}

bool reader_finish(struct reader *r, struct stream *s)
{
	ssize_t n;

	if (!advance(r, s))
		return false;
	n = read_block(r, s, s->position);
	if (n < 0 || s->position + n > s->size)
		return true;            /* it can't be read, or grew just now: not over */
	if (n > 0) {
		size_t len = (size_t)n < LINE_BYTES_MAX ? (size_t)n : LINE_BYTES_MAX;

		if (!hand_over(r, s, (struct text){ r->block, len }, s->position, wall_us(), "\"_partial\":true"))
			return false;
		if (s->size - s->position > LINE_BYTES_MAX)
			reader_gap(r, s, "line_cut", 1, s->size - s->position - LINE_BYTES_MAX,
				   "an unfinished line at the end of a file was cut");
		stream_jump(s, s->size);
	}
	s->finished = true;
	return advance(r, s);
}

void reader_cut_off(struct reader *r, struct stream *s)
{
	reader_gap(r, s, "truncated", -1, s->scanned - s->position, "an unfinished line was cut off");
	s->scanned = s->position;
}

bool reader_truncated(struct reader *r, struct stream *s, int64_t size_before)
{
	int64_t unread = size_before - s->position;
	char detail[128];

	s->finished = true;
	if (!advance(r, s)) {
		s->finished = false;
		return false;
	}
	snprintf(detail, sizeof detail, "the file was truncated; %" PRId64 " bytes were known and not read",
		 unread > 0 ? unread : 0);
	reader_gap(r, s, "truncated", -1, unread > 0 ? unread : -1, detail);
	stream_restart(s);
	return true;
}
