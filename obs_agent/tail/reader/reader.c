#include "reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "wire/log/multiline.h"
#include "lines.h"

enum { HOLE_MIN = 64 };                 /* zero bytes: so many are no part of a line */

/* Marks a line that was never ended. */
#define PARTIAL "\"_partial\":true"

int reader_init(struct reader *r, struct agent *a, struct err *e)
{
	*r = (struct reader){ .agent = a, .block = malloc(BLOCK) };
	if (!r->block)
		return err_set(e, ENOMEM, "out of memory for reading log files");
	line_parser_init(&r->parser);
	multiline_room_init(&r->room);
	r->parser.memo = &r->room.memo;
	r->parser.clock.zones = r->room.clock.zones = &r->zones;
	reader_set_zone(r);
	return 0;
}

void reader_set_zone(struct reader *r)
{
	struct err e;

	if (zone_load(&r->zone, "", &e) < 0)
		logcore_warning(agent_log(r->agent), "the machine's time zone is not known",
				logcore_kv("error", e.msg));
}

void reader_free(struct reader *r)
{
	line_parser_free(&r->parser);
	multiline_room_free(&r->room);
	zones_free(&r->zones);
	free(r->block);
}

/* Where the first hole begins, from `at` on: so many zero bytes are no part of a line, nor are
 * those at the end. */
static size_t find_hole(const char *s, size_t at, size_t n, size_t *ret_len)
{
	*ret_len = 0;
	while (at < n) {
		const char *zero = memchr(s + at, '\0', n - at);
		size_t len = 0;

		if (!zero)
			break;
		at = (size_t)(zero - s);
		while (at + len < n && zero[len] == '\0')
			len++;
		if (len >= HOLE_MIN || at + len == n) {
			*ret_len = len;
			return at;
		}
		at += len;
	}
	return n;
}

/* How the taking of lines ended. */
enum taken { TAKEN_ALL, TAKEN_TO_GROUP, TAKEN_TO_FULL, TAKEN_TO_ZEROS };

/* Hand over the whole lines of [*at, n). */
static enum taken take_text(struct reader *r, struct stream *s, size_t *at, size_t n, bool settled,
			    int64_t now_us)
{
	while (*at < n) {
		const char *line = r->block + *at, *newline = memchr(line, '\n', n - *at);
		struct text record;
		bool open;

		if (!newline)
			break;
		record.s = line;
		record.len = lines_record_length(r, s, (struct text){ line, n - *at },
						 (size_t)(newline - line), &open);
		if (open && !settled)
			return TAKEN_TO_GROUP;
		if (!lines_hand_over(r, s, record, stream_offset(s) + (int64_t)*at, now_us, NULL))
			return TAKEN_TO_FULL;
		if (stream_offset(s) + (int64_t)*at < LEARN_BYTES)
			multiline_learn(&stream_reading(s)->form, &r->room, record);
		*at += record.len + 1;
	}
	return TAKEN_ALL;
}

/* Hand over the whole lines of the block; gives how many bytes they are. *ret_text: where the text
 * behind them ends. Zeros with text behind them are skipped once it is settled that nobody writes
 * there: what stands before them is a line that was never ended. */
static size_t take_lines(struct reader *r, struct stream *s, size_t n, bool settled, enum taken *ret,
			 size_t *ret_text)
{
	int64_t now_us = wall_us();
	size_t at = 0, text, zeros;

	r->room.clock.now_us = now_us;
	for (;;) {
		text = find_hole(r->block, at, n, &zeros);
		*ret_text = text;
		*ret = take_text(r, s, &at, text, settled, now_us);
		if (*ret != TAKEN_ALL || text == n)
			return at;
		*ret = text + zeros == n ? TAKEN_TO_ZEROS : TAKEN_TO_GROUP;
		if (*ret == TAKEN_TO_ZEROS || !settled)
			return at;
		if (!lines_hand_over(r, s, (struct text){ r->block + at, text - at },
				     stream_offset(s) + (int64_t)at, now_us, PARTIAL)) {
			*ret = TAKEN_TO_FULL;
			return at;
		}
		at = text + zeros;
	}
}

/* Something may still come to what was not taken. */
static enum reader_result wait_for_more(struct stream *s, bool is_new)
{
	stream_open_group(s, is_new);
	return READER_END;
}

/*
 * There are zeros behind what was scanned, to the end of what was read: a part of the file that is not
 * written yet, or a hole with text behind it. Read on, a block at a time and each only once, until
 * that is known: stream_zeros(s)->to. READER_END: nothing but zeros is left.
 */
static enum reader_result look_beyond_zeros(struct reader *r, struct stream *s)
{
	int64_t at = stream_zeros(s)->to > stream_scanned(s) ? stream_zeros(s)->to : stream_scanned(s);
	off_t data = lseek(stream_fd(s), at, SEEK_DATA);
	ssize_t n;
	size_t zeros = 0;

	if (data > at)
		at = data;
	if (at >= stream_size(s) || (data < 0 && errno == ENXIO)) {
		stream_set_zeros(s, stream_size(s));
		return READER_END;
	}
	n = lines_read_block(r, s, at);
	if (n < 0)
		return READER_FAILED;
	while (zeros < (size_t)n && r->block[zeros] == '\0')
		zeros++;
	stream_set_zeros(s, at + (int64_t)zeros);
	return READER_MORE;
}

/* Is it known that text stands behind the zeros? */
static bool text_behind_zeros(const struct stream *s)
{
	int64_t to = stream_zeros(s)->to;
	char c;

	return to > stream_scanned(s) && to < stream_size(s) && pread(stream_fd(s), &c, 1, to) == 1 &&
	       c != '\0';
}

/*
 * A line longer than a block: look for its newline without keeping anything,
 * then hand over its first LINE_BYTES_MAX bytes. Until the newline is there
 * nothing is handed over, so that a restart finds everything as it was.
 */
static enum reader_result hand_over_long(struct reader *r, struct stream *s, int64_t length, int64_t end)
{
	char mark[48], detail[96];
	ssize_t n = lines_read_block(r, s, stream_offset(s));

	if (n < LINE_BYTES_MAX)
		return READER_END;      /* truncated meanwhile: the next look will see it */
	if (!stream_holds(s))
		return READER_OTHER_TEXT;
	if (memchr(r->block, '\n', (size_t)n)) {
		stream_set_scanned(s, stream_offset(s)); /* truncated and filled again: other lines */
		return READER_MORE;
	}
	snprintf(mark, sizeof mark, "\"_cut_bytes\":%" PRId64, length);
	if (!lines_hand_over(r, s, (struct text){ r->block, LINE_BYTES_MAX }, stream_offset(s), wall_us(),
			     mark))
		return READER_FULL;
	snprintf(detail, sizeof detail, "a line of %" PRId64 " bytes at byte %" PRId64 " was cut", length,
		 stream_offset(s));
	reader_gap(r, stream_id(s), "line_cut", 1, length - LINE_BYTES_MAX, detail);
	r->cut++;
	r->bytes += end - stream_offset(s);
	stream_jump(s, end);
	lines_move_on(r, s, false);
	return READER_MORE;
}

static enum reader_result skip_zeros(struct reader *r, struct stream *s, bool is_new, bool settled)
{
	enum reader_result how = READER_MORE;
	int64_t length = stream_scanned(s) - stream_offset(s);

	stream_forget_stale_zeros(s, is_new);
	if (!text_behind_zeros(s))
		how = look_beyond_zeros(r, s);
	if (how != READER_MORE || !text_behind_zeros(s)) {
		stream_close_group(s);
		return how;
	}
	if (!settled)
		return wait_for_more(s, is_new);
	if (length > LINE_BYTES_MAX)
		return hand_over_long(r, s, length, stream_zeros(s)->to);
	if (length > 0) {               /* a line that was never ended */
		if (lines_read_block(r, s, stream_offset(s)) < length || !stream_holds(s))
			return READER_OTHER_TEXT;
		if (!lines_hand_over(r, s, (struct text){ r->block, (size_t)length }, stream_offset(s),
				     wall_us(), PARTIAL))
			return READER_FULL;
	}
	stream_jump(s, stream_zeros(s)->to);
	lines_move_on(r, s, false);
	return READER_MORE;
}

static enum reader_result read_long_line(struct reader *r, struct stream *s, bool settled)
{
	ssize_t n = lines_read_block(r, s, stream_scanned(s));
	const char *newline;
	size_t text, zeros;

	if (n <= 0)
		return n < 0 ? READER_FAILED : READER_END;
	text = find_hole(r->block, 0, (size_t)n, &zeros);
	newline = memchr(r->block, '\n', text);
	if (newline) {
		int64_t end = stream_scanned(s) + (newline - r->block) + 1;

		return hand_over_long(r, s, end - 1 - stream_offset(s), end);
	}
	stream_set_scanned(s, stream_scanned(s) + (int64_t)text);
	return zeros ? skip_zeros(r, s, text > 0, settled) : READER_MORE;
}

bool reader_tell(struct reader *r, struct stream *s)
{
	return stream_is_told(s) || lines_advance(r, s, false);
}

/* Of a block of n bytes, `taken` went to lines, and text stands up to `text`. */
static enum reader_result after_block(struct reader *r, struct stream *s, enum taken how, size_t n,
				      size_t taken, size_t text, bool settled)
{
	bool full = n == BLOCK,
	     in_line = how == TAKEN_TO_ZEROS && taken == 0 && full && text > BLOCK - HOLE_MIN;
	int64_t scanned = stream_scanned(s);

	if (how == TAKEN_TO_FULL)
		return READER_FULL;
	if (how == TAKEN_TO_GROUP) {
		wait_for_more(s, taken > 0);
		return full && taken > 0 ? READER_MORE : READER_END;
	}
	if (how == TAKEN_TO_ZEROS && !in_line) {
		stream_set_scanned(s, stream_offset(s) + (int64_t)(text - taken));
		return skip_zeros(r, s, taken > 0 || stream_scanned(s) != scanned, settled);
	}
	stream_close_group(s);
	if (taken == 0)
		stream_set_scanned(s, stream_offset(s) + (int64_t)n);
	return full ? READER_MORE : READER_END;
}

enum reader_result reader_read(struct reader *r, struct stream *s, bool settled)
{
	enum taken how;
	size_t taken, text;
	ssize_t n;

	if (!lines_advance(r, s, false))
		return READER_FULL;
	lines_prepare(r, s);
	if (stream_scanned(s) - stream_offset(s) > LINE_BYTES_MAX)
		return read_long_line(r, s, settled);
	n = lines_read_block(r, s, stream_offset(s));
	if (n <= 0)
		return n < 0 ? READER_FAILED : READER_END;
	if (!stream_holds(s))
		return READER_OTHER_TEXT;
	taken = take_lines(r, s, (size_t)n, settled, &how, &text);
	if (taken > 0) {
		r->bytes += (int64_t)taken;
		stream_advance(s, stream_offset(s) + (int64_t)taken, r->block + taken, taken);
		lines_move_on(r, s, false);
	}
	stream_reading(s)->rate.behind &= n == BLOCK;
	return after_block(r, s, how, (size_t)n, taken, text, settled);
}

/* The text behind the last newline, without the zeros behind it. */
static bool hand_over_end(struct reader *r, struct stream *s, size_t n)
{
	size_t zeros, text = find_hole(r->block, 0, n, &zeros),
		      len = text < LINE_BYTES_MAX ? text : LINE_BYTES_MAX;
	int64_t cut = stream_text_size(s) - stream_offset(s) - LINE_BYTES_MAX;

	if (!lines_hand_over(r, s, (struct text){ r->block, len }, stream_offset(s), wall_us(), PARTIAL))
		return false;
	if (cut > 0)
		reader_gap(r, stream_id(s), "line_cut", 1, cut,
			   "an unfinished line at the end of a file was cut");
	stream_advance(s, stream_offset(s) + (int64_t)n, r->block + n, n);
	if (stream_offset(s) < stream_size(s))
		stream_jump(s, stream_size(s));
	return true;
}

/* Declare that it is not read further. */
static bool end(struct reader *r, struct stream *s)
{
	if (!lines_move_on(r, s, true))
		return false;
	stream_end(s);
	return true;
}

bool reader_finish(struct reader *r, struct stream *s)
{
	ssize_t n;

	if (!lines_advance(r, s, false))
		return false;
	lines_prepare(r, s);
	n = lines_read_block(r, s, stream_offset(s));
	if (n < 0 || stream_offset(s) + n > stream_size(s) || !stream_holds(s))
		return true;            /* it can't be read, grew just now or holds another text: not over */
	if (n > 0 && !hand_over_end(r, s, (size_t)n))
		return false;
	return end(r, s);
}

bool reader_let_go(struct reader *r, struct stream *s)
{
	return end(r, s);
}

bool reader_tell_lost(struct reader *r, struct stream *s)
{
	return !stream_loss(s)->bytes || stream_loss(s)->told || lines_move_on(r, s, false);
}

void reader_cut_off(struct reader *r, struct stream *s)
{
	lines_tell_loss(r, s);
	stream_cut_off(s);
	lines_move_on(r, s, false);
}
