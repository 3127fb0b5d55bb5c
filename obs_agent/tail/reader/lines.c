#include "lines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "wire/log/log_wrapper.h"

ssize_t lines_read_block(struct reader *r, struct stream *s, int64_t offset)
{
	ssize_t n;

	do
		n = pread(stream_fd(s), r->block, BLOCK, offset);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		r->read += n;
	return n;
}

void reader_gap(struct reader *r, int64_t stream_id, const char *kind, int64_t lines, int64_t bytes,
		const char *detail)
{
	struct sample gap = { .kind = SAMPLE_GAP, .timestamp_us = wall_us(),
			      .gap = { .stream_id = stream_id, .kind = kind, .lines = lines, .bytes = bytes,
				       .detail = text_of(detail) } };

	agent_add(r->agent, &gap);
}

bool lines_advance(struct reader *r, struct stream *s, bool ends)
{
	struct position p;

	stream_position(s, &p);
	p.finished = ends;
	if (!agent_set_position(r->agent, &p))
		return false;
	stream_set_told(s);
	return true;
}

void lines_tell_loss(struct reader *r, const struct stream *s)
{
	const struct loss *loss = stream_loss(s);

	if (loss->bytes && !loss->told)
		reader_gap(r, stream_id(s), "truncated", -1, loss->bytes, loss->why);
}

bool lines_move_on(struct reader *r, struct stream *s, bool ends)
{
	char detail[160];
	struct buf levels = BUF(sizeof detail - 1);

	if (rate_limit_held_lines(&r->held) && rate_limit_held_detail(&r->held, &levels) &&
	    buf_cstr(&levels)) {
		snprintf(detail, sizeof detail, "%s", levels.data);
		reader_gap(r, stream_id(s), "flood", rate_limit_held_lines(&r->held), r->held.bytes, detail);
		r->suppressed += rate_limit_held_lines(&r->held);
	}
	buf_free(&levels);
	r->held = (struct rate_limit_held){ 0 };
	lines_tell_loss(r, s);
	stream_loss_told(s);
	return lines_advance(r, s, ends);
}

/* Too many of them in their second? Lines without a time of their own are not counted
 * while they are read late: all would fall into this second. */
static bool held_back(struct reader *r, struct stream *s, const struct sample *sample, size_t len,
		      int64_t now_us)
{
	int64_t limit = agent_config(r->agent)->log_lines_per_second;

	if (limit == 0 || (sample->timestamp_us == now_us && stream_reading(s)->rate.behind) ||
	    rate_limit_passes(&stream_reading(s)->rate, limit, sample->timestamp_us, sample->log.level))
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

bool lines_hand_over(struct reader *r, struct stream *s, struct text line, int64_t offset, int64_t now_us,
		      const char *mark)
{
	struct sample sample;

	if (blank(line))
		return true;
	line_parse(&r->parser, line, now_us, mark, &sample);
	if (held_back(r, s, &sample, line.len, now_us))
		return true;
	sample.log.stream_id = stream_id(s);
	sample.log.offset = offset;
	sample.log.own = is_own(r, line);
	if (!agent_add(r->agent, &sample))
		return false;
	if (r->parser.found.timed) {
		r->parser.clock.last_us = stream_reading(s)->last_us = sample.timestamp_us;
		r->parser.clock.last_at_us = stream_reading(s)->last_at_us = now_us;
	}
	r->lines++;
	r->of_others += !sample.log.own;
	return true;
}

/* A whole object on one line, in no wrapper: the usual case needs no look at the next line. */
static bool is_logcores(struct text line)
{
	return line.len > 1 && line.s[0] == '{' && line.s[1] == '"' && !log_wrapper_likely(line);
}

size_t lines_record_length(struct reader *r, struct stream *s, struct text t, size_t line,
			    bool *ret_open)
{
	struct text first = { t.s, line };

	*ret_open = false;
	if (blank(first) || (!r->room.start && is_logcores(first)))
		return line;
	return multiline_record(&stream_reading(s)->form, &r->room, t, ret_open);
}

/* ---- what a file's own lines are read by ---- */

/* Read from `from` on, up to the position at most; 0 on an error, too. */
static size_t read_again(struct reader *r, struct stream *s, int64_t from)
{
	ssize_t n = lines_read_block(r, s, from);
	int64_t before = stream_offset(s) - from;

	return n < 0 ? 0 : n < before ? (size_t)n : (size_t)before;
}

/* Learn once more how the records of the file begin: this text was read before the agent was stopped. */
static void learn_again(struct reader *r, struct stream *s)
{
	size_t at = 0, len = read_again(r, s, 0);

	while (at < len && at < LEARN_BYTES) {
		struct text t = { r->block + at, len - at };
		const char *newline = memchr(t.s, '\n', t.len);
		bool open;

		if (!newline)
			return;
		t.len = lines_record_length(r, s, t, (size_t)(newline - t.s), &open);
		multiline_learn(&stream_reading(s)->form, &r->room, t);
		at += t.len + 1;
	}
}

/* The time of the last line before the position that has one. */
static void recall_time(struct reader *r, struct stream *s)
{
	int64_t from = stream_offset(s) > LEARN_BYTES ? stream_offset(s) - LEARN_BYTES : 0;
	int64_t now_us = wall_us();
	size_t at = 0, len = read_again(r, s, from);

	while (at < len) {
		const char *line = r->block + at, *newline = memchr(line, '\n', len - at);
		struct text text = { line, 0 };
		struct sample sample;

		if (!newline)
			return;
		text.len = (size_t)(newline - line);
		line_parse(&r->parser, text, now_us, NULL, &sample);
		if (r->parser.found.timed)
			r->parser.clock.last_us = stream_reading(s)->last_us = sample.timestamp_us;
		at = (size_t)(newline + 1 - r->block);
	}
}

void lines_prepare(struct reader *r, struct stream *s)
{
	static const struct log_file_config usual = { .format = "auto" };
	struct reading *now = stream_reading(s);
	const struct log_file_config *c;

	if (!now->settings)
		now->settings = config_log_file(agent_config(r->agent), stream_log_path(s));
	c = now->settings ? now->settings : &usual;
	r->parser.raw = r->room.raw = strcmp(c->format, "raw") == 0;
	r->parser.warn_4xx = c->warn_4xx;
	r->parser.clock.zone = r->room.clock.zone = c->zone ? c->zone : &r->zone;
	r->parser.clock.last_us = now->last_us;
	r->parser.clock.last_at_us = now->last_at_us;
	r->room.start = c->start;
	if (now->recalled || stream_size(s) <= stream_offset(s))
		return;
	now->recalled = true;
	if (stream_offset(s) == 0)
		return;
	r->room.clock.now_us = wall_us();
	learn_again(r, s);
	recall_time(r, s);
}
