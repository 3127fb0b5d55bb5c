#include "reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "wire/multiline.h"

enum {
	BLOCK = LINE_BYTES_MAX + 1,     /* a line of the longest length, and its newline */
	HOLE_MIN = 64,
};

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
	if (!agent_set_position(r->agent, &p))
		return false;
	s->told = true;
	return true;
}

/* Tell the batch how far `s` is read now, with what is missing on the way there: in
 * one transaction. */
static bool move_on(struct reader *r, struct stream *s)
{
	char detail[160];
	struct buf levels = BUF(sizeof detail - 1);

	if (flood_lines(&r->held) && flood_detail(&r->held, &levels) && buf_cstr(&levels)) {
		snprintf(detail, sizeof detail, "%s", levels.data);
		reader_gap(r, s, "flood", flood_lines(&r->held), r->held.bytes, detail);
		r->suppressed += flood_lines(&r->held);
	}
	buf_free(&levels);
	r->held = (struct flood_count){ 0 };
	if (s->lost && !s->lost_told)
		reader_gap(r, s, "truncated", -1, s->lost, s->lost_why);
	s->lost_told = s->lost != 0;            /* until it is committed: reading again makes it again */
	return advance(r, s);
}

/* Too many of them in their second? Lines without a time of their own are not counted
 * while they are read late: all would fall into this second. */
static bool held_back(struct reader *r, struct stream *s, const struct sample *sample, size_t len, int64_t now_us)
{
	int64_t limit = agent_config(r->agent)->log_lines_per_second;

	if (limit == 0 || (sample->timestamp_us == now_us && s->flood.behind) ||
	    flood_passes(&s->flood, limit, sample->timestamp_us, sample->log.level))
		return false;
	r->held.lines[sample->log.level]++;
	r->held.bytes += (int64_t)len + 1;
	return true;
}

static bool blank(struct text line)
{
	while (line.len > 0 && line.s[line.len - 1] == '\r')
		line.len--;
	return line.len == 0;
}

/* Is it a line of an agent's own log, wherever that goes (a file, syslog)? What an agent says of reading and
 * sending it would be the next such line. Only who says such things has to know. */
static bool is_own(const struct reader *r, struct text line)
{
	static const char mark[] = "\"logger\":\"obs_agent\"";

	return logcore_enabled(agent_log(r->agent), LOGCORE_DEBUG) &&
	       memmem(line.s, line.len, mark, sizeof mark - 1) != NULL;
}

static bool hand_over(struct reader *r, struct stream *s, struct text line, int64_t offset, int64_t now_us,
		      const char *mark)
{
	struct sample sample;

	if (blank(line))
		return true;
	line_parse(&r->parser, line, now_us, mark, &sample);
	if (held_back(r, s, &sample, line.len, now_us))
		return true;
	sample.log.stream_id = s->id;
	sample.log.offset = offset;
	sample.log.own = is_own(r, line);
	if (!agent_add(r->agent, &sample))
		return false;
	r->lines++;
	r->of_others += !sample.log.own;
	return true;
}

/* Whoever writes on at his old place after a truncation leaves NUL bytes before it: so many of
 * them are no part of a line. */
static size_t hole(const char *line, const char *end)
{
	size_t n = 0;

	while (line + n < end && line[n] == '\0')
		n++;
	return n >= HOLE_MIN ? n : 0;
}

/* How the taking of lines ended. */
enum taken { TAKEN_ALL, TAKEN_TO_GROUP, TAKEN_TO_FULL };

/* Hand over the whole lines of the block; gives how many bytes they are. */
static size_t take_lines(struct reader *r, struct stream *s, size_t n, bool settled, enum taken *ret)
{
	int64_t now_us = wall_us();
	size_t at = 0;

	*ret = TAKEN_ALL;
	while (at < n) {
		const char *line = r->block + at, *newline = memchr(line, '\n', n - at);
		struct text record;
		bool open = false;

		if (!newline)
			break;
		at += hole(line, newline);
		line = r->block + at;
		record = (struct text){ line, (size_t)(newline - line) };
		if (*line != '{' && !blank(record) && !join_is_object(record))
			record.len = join_record((struct text){ line, n - at }, &open);
		if (open && !settled) {
			*ret = TAKEN_TO_GROUP;
			break;
		}
		if (!hand_over(r, s, record, s->position + (int64_t)at, now_us, NULL)) {
			*ret = TAKEN_TO_FULL;
			break;
		}
		at += record.len + 1;
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
	if (!stream_holds(s))
		return READER_OTHER_TEXT;
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
	move_on(r, s);
	return READER_MORE;
}

bool reader_tell(struct reader *r, struct stream *s)
{
	return s->told || advance(r, s);
}

enum reader_result reader_read(struct reader *r, struct stream *s, bool settled)
{
	enum taken how;
	size_t taken;
	ssize_t n;

	if (!advance(r, s))
		return READER_FULL;
	if (s->scanned - s->position > LINE_BYTES_MAX)
		return read_long_line(r, s);
	n = read_block(r, s, s->position);
	if (n <= 0)
		return n < 0 ? READER_FAILED : READER_END;
	if (!stream_holds(s))
		return READER_OTHER_TEXT;
	taken = take_lines(r, s, (size_t)n, settled, &how);
	if (taken > 0) {
		r->bytes += (int64_t)taken;
		stream_advance(s, s->position + (int64_t)taken, r->block + taken, taken);
		move_on(r, s);
	}
	if (how == TAKEN_TO_FULL)
		return READER_FULL;
	if (how == TAKEN_TO_GROUP && (!s->open_group || taken > 0))
		s->group_since_us = mono_us();
	s->open_group = how == TAKEN_TO_GROUP;
	if (taken == 0 && !s->open_group)
		s->scanned = s->position + n;
	s->flood.behind &= n == BLOCK;
	return n == BLOCK && !(s->open_group && taken == 0) ? READER_MORE : READER_END;
}

bool reader_finish(struct reader *r, struct stream *s)
{
	ssize_t n;

	if (!advance(r, s))
		return false;
	n = read_block(r, s, s->position);
	if (n < 0 || s->position + n > s->size || !stream_holds(s))
		return true;            /* it can't be read, grew just now or holds another text: not over */
	if (n > 0) {
		size_t len = (size_t)n < LINE_BYTES_MAX ? (size_t)n : LINE_BYTES_MAX;

		if (!hand_over(r, s, (struct text){ r->block, len }, s->position, wall_us(), "\"_partial\":true"))
			return false;
		if (s->size - s->position > LINE_BYTES_MAX)
			reader_gap(r, s, "line_cut", 1, s->size - s->position - LINE_BYTES_MAX,
				   "an unfinished line at the end of a file was cut");
		stream_advance(s, s->position + n, r->block + n, (size_t)n);
		if (s->position < s->size)
			stream_jump(s, s->size);
	}
	s->finished = true;
	return move_on(r, s);
}

bool reader_let_go(struct reader *r, struct stream *s)
{
	s->finished = true;
	s->finished = move_on(r, s);
	return s->finished;
}

bool reader_tell_lost(struct reader *r, struct stream *s)
{
	return !s->lost || s->lost_told || move_on(r, s);
}

void reader_cut_off(struct reader *r, struct stream *s)
{
	if (s->lost && !s->lost_told)
		reader_gap(r, s, "truncated", -1, s->lost, s->lost_why);
	s->lost = s->top - s->position;
	s->lost_why = "lines that were not read were cut off";
	s->lost_told = false;
	s->top = s->size;
	s->scanned = s->position;
	move_on(r, s);
	s->open_group = false;
}
