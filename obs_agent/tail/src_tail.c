/*
 * src_tail.c - follows log files: reads what they get, each file in its turn.
 *
 * Every configured path is resolved anew whenever names change, and each second
 * where inotify does not tell of everything, so that a rename, a new file and a
 * `current` symlink that points elsewhere are all the same event: the path leads
 * to another file now. The file it led to
 * before is kept open, read to its end, and let go when its last line is
 * committed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "obs_agent/agent.h"
#include "obs_agent/tail/reader/reader.h"
#include "tail_files.h"
#include "tail_status.h"

enum {
	LOOK_EVERY_S = 1,     /* while something may change that no event tells, ... */
	LOOK_SELDOM_S = 60,   /* ... and while nothing can */
	LOOK_SHARE = 20,      /* looking takes at most one part in so many of the time, ... */
	LOOK_WITHIN_S = 60,   /* ... unless it would be put off for longer; ... */
	LOOK_SLOW_S = 3,      /* ... a longer pause is logged */
	WAKE_EVERY_MS = 100,  /* inotify wakes no more often than this */
	WORK_BYTES = 1 << 20, /* read at most so much before others have a turn */
	GROUP_WAIT_MS = 500,  /* lines of plain text wait so long for more that belongs to them, ... */
	GROUP_AGE_S = 2,      /* ... and no longer than this in all */
};

struct tail {
	struct agent *agent;
	struct tail_files files;
	struct reader reader;
	sd_event_source *look_timer, *group_timer, *work_source, *inotify_source, *mounts_source;
	int64_t looked_us;              /* monotonic: the end of the last look */
	int64_t look_after_us;          /* monotonic: no look before, whatever happens */
	size_t troubles;                /* that the last look found */
	bool known;                     /* the database has told its positions */
	bool full;                      /* the batch refused a line */
	bool look_due;                  /* something was found that calls for a look */
	bool slow;                      /* looks are put off for long; it was logged */
	bool calm;                      /* an event will tell of all that a look could find */
	bool last;                      /* one round only: nothing more is waited for */
};

/* ---- reading ---- */

/* Let the rest of a group of lines come; once for all that wait. */
static void wait_for_group(struct tail *t)
{
	int on = SD_EVENT_OFF;

	sd_event_source_get_enabled(t->group_timer, &on);
	if (on != SD_EVENT_OFF)
		return;
	sd_event_source_set_time_relative(t->group_timer, GROUP_WAIT_MS * US_PER_MS);
	sd_event_source_set_enabled(t->group_timer, SD_EVENT_ONESHOT);
}

/* Its end is reached for now. */
static enum reader_result at_end(struct tail *t, struct stream *s)
{
	if (!reader_tell_lost(&t->reader, s))
		return READER_FULL;
	stream_set_dirty(s, false);
	if (stream_life(s) == DROPPED)
		return reader_let_go(&t->reader, s) ? READER_END : READER_FULL;
	if (stream_group(s)->open)
		wait_for_group(t);
	if (stream_life(s) != OVER || stream_group(s)->open)
		return READER_END;
	if (!reader_finish(&t->reader, s))
		return READER_FULL;
	if (stream_ended(s))
		tail_files_debug(&t->files, s, "log file read to its end");
	return READER_END;
}

/* Need its last lines not wait for more that belongs to them? */
static bool is_settled(const struct tail *t, const struct stream *s)
{
	const struct group *group = stream_group(s);

	return stream_life(s) == OVER || t->last || stream_silent(s, GROUP_WAIT_MS * US_PER_MS) ||
	       (group->open && mono_us() - group->since_us > GROUP_AGE_S * US_PER_S);
}

static enum reader_result read_one(struct tail *t, struct stream *s)
{
	enum reader_result r = READER_END;
	int64_t before = stream_offset(s), others = t->reader.of_others;

	if (!stream_unchanged(s))
		return READER_OTHER_TEXT;
	if (stream_is_cut_off(s))
		reader_cut_off(&t->reader, s);
	if (stream_size(s) > stream_scanned(s)) {
		r = reader_read(&t->reader, s, is_settled(t, s));
		if (t->reader.of_others > others)
			logcore_trace(agent_log(t->agent), "log file read",
				      logcore_kv("path", stream_path(s)), logcore_kv("from", before),
				      logcore_kv("to", stream_offset(s)));
		if (stream_offset(s) != before)
			stream_was_written(s);
	}
	return r == READER_END ? at_end(t, s) : r;
}

/* The batch is full. What is read when there is room again is read late. */
static void stop_reading(struct tail *t, struct stream *first)
{
	t->full = true;
	tail_files_begin_with(&t->files, first);
	for (struct stream *s = t->files.streams; s; s = stream_next(s))
		stream_reading(s)->rate.behind = true;
}

static enum reader_result turn(struct tail *t, struct stream *s)
{
	enum reader_result r;

	if (stream_ended(s) || !stream_is_dirty(s))
		return READER_END;
	if (!tail_files_open(&t->files, s)) {
		t->look_due |= stream_life(s) == MISLAID;
		return READER_END;
	}
	if (stream_unchanged(s) && tail_files_copied_over(&t->files, s)) {
		t->look_due = true;
		return READER_MORE;
	}
	r = reader_tell(&t->reader, s) ? read_one(t, s) : READER_FULL;
	if (r == READER_OTHER_TEXT) {
		tail_files_debug(&t->files, s, "log file truncated");
		tail_files_truncated(&t->files, s);
		t->look_due = true;     /* for the copy */
		return READER_MORE;
	}
	if (r == READER_FAILED)
		tail_files_trouble(&t->files, stream_path(s), errno);
	t->calm &= r != READER_FAILED && !stream_is_prepared(s);
	if (r != READER_FULL)
		tail_files_park_if_scarce(&t->files, s);
	return r;
}

/* Give every stream that has something its turn, a block each, until nothing is left, the
 * batch is full or others must have their turn. True: there is more to do at once. */
static bool work(struct tail *t)
{
	int64_t start = t->reader.read;
	bool more = t->known && !t->full;

	while (more) {
		more = false;
		for (struct stream *s = t->files.streams, *next; s; s = next) {
			enum reader_result r;

			next = stream_next(s);         /* what becomes a copy is let go */
			r = turn(t, s);
			more |= r == READER_MORE;
			if (r == READER_FULL) {
				stop_reading(t, s);
				return false;
			}
		}
		if (t->reader.read - start >= WORK_BYTES)
			return more;
	}
	return false;
}

/* What can't be followed was told as it was found; that it can be followed again is told here. */
static void tell_what_is_over(struct tail *t)
{
	size_t troubles = tail_status_troubles(&t->files);

	if (troubles < t->troubles)
		agent_tell_state(t->agent);
	t->troubles = troubles;
}

/* With many files a look costs, and most in a folder where somebody makes names without end: then it is taken
 * less often. */
static void put_off_looking(struct tail *t, int64_t cost_us)
{
	int64_t pause = cost_us < LOOK_WITHIN_S * US_PER_S / LOOK_SHARE ? cost_us * LOOK_SHARE
									: LOOK_WITHIN_S * US_PER_S;
	bool slow = pause > LOOK_SLOW_S * US_PER_S;

	t->look_after_us = t->looked_us + pause;
	if (slow && !t->slow)
		logcore_warning(agent_log(t->agent),
				"looking for log files takes long, so new files are found late; write "
				"narrower patterns, or remove files",
				logcore_kv("ms", cost_us / US_PER_MS),
				logcore_kv("next_look_s", pause / US_PER_S));
	t->slow = slow;
}

static void look(struct tail *t)
{
	int64_t began = mono_us();

	/* Also while the database is away: an open file can't be lost. */
	t->look_due = tail_files_look(&t->files);
	tell_what_is_over(t);
	t->calm = tail_files_is_calm(&t->files);
	t->looked_us = mono_us();
	put_off_looking(t, t->looked_us - began);
}

/* A seldom look waits for another reason to wake. */
static void plan_look(struct tail *t)
{
	bool seldom = t->calm && !t->look_due;
	int64_t accuracy_us = seldom ? LOOK_SELDOM_S / 2 * US_PER_S : 100 * US_PER_MS;
	int64_t next = t->look_due ? 0 : t->looked_us + (seldom ? LOOK_SELDOM_S : LOOK_EVERY_S) * US_PER_S;

	if (next < t->look_after_us)
		next = t->look_after_us;
	sd_event_source_set_time_accuracy(t->look_timer, (uint64_t)accuracy_us);
	sd_event_source_set_time(t->look_timer, (uint64_t)next);
}

static void work_on(struct tail *t)
{
	bool more = work(t);

	if (t->look_due && mono_us() >= t->look_after_us) {
		look(t);
		more = true;
	}
	plan_look(t);
	sd_event_source_set_enabled(t->work_source, more ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_work(sd_event_source *s, void *data)
{
	(void)s;
	work_on(data);
	return 0;
}

static int on_look(sd_event_source *source, uint64_t usec, void *data)
{
	struct tail *t = data;

	(void)source;
	(void)usec;
	look(t);
	work_on(t);
	return 0;
}

static int on_inotify(sd_event_source *s, int fd, uint32_t revents, void *data)
{
	struct tail *t = data;

	(void)s;
	(void)fd;
	(void)revents;
	t->look_due |= tail_files_events(&t->files);
	work_on(t);
	return 0;
}

static int on_mounts(sd_event_source *s, int fd, uint32_t revents, void *data)
{
	struct tail *t = data;

	(void)s;
	(void)fd;
	(void)revents;
	tail_files_remounted(&t->files);
	t->look_due = true;
	work_on(t);
	return 0;
}

static int on_group(sd_event_source *source, uint64_t usec, void *data)
{
	struct tail *t = data;

	(void)source;
	(void)usec;
	for (struct stream *s = t->files.streams; s; s = stream_next(s))
		if (stream_group(s)->open)
			stream_set_dirty(s, true);
	work_on(t);
	return 0;
}

/* ---- the source ---- */

static void stop(void *state)
{
	struct tail *t = state;

	sd_event_source_disable_unref(t->look_timer);
	sd_event_source_disable_unref(t->group_timer);
	sd_event_source_disable_unref(t->work_source);
	sd_event_source_disable_unref(t->inotify_source);
	sd_event_source_disable_unref(t->mounts_source);
	tail_files_free(&t->files);
	reader_free(&t->reader);
	free(t);
}

/* Without watches, looks come once a second. */
static int hang_watches_on_loop(struct tail *t, sd_event *loop)
{
	int fd = watches_fd(t->files.watches), mounts_fd = watches_mounts_fd(t->files.watches);
	int r = 0;

	if (fd >= 0)
		r = sd_event_add_io(loop, &t->inotify_source, fd, EPOLLIN, on_inotify, t);
	if (r >= 0 && t->inotify_source)
		r = sd_event_source_set_ratelimit(t->inotify_source, WAKE_EVERY_MS * US_PER_MS, 1);
	if (r >= 0 && mounts_fd >= 0)
		r = sd_event_add_io(loop, &t->mounts_source, mounts_fd, EPOLLPRI, on_mounts, t);
	if (r >= 0 && t->mounts_source)
		r = sd_event_source_set_ratelimit(t->mounts_source, US_PER_S, 1);
	return r;
}

static int hang_on_loop(struct tail *t)
{
	sd_event *loop = agent_loop(t->agent);
	int r;

	r = sd_event_add_time_relative(loop, &t->look_timer, CLOCK_MONOTONIC, 0, 100 * US_PER_MS, on_look, t);
	if (r >= 0)
		r = sd_event_source_set_enabled(t->look_timer, SD_EVENT_ON);
	if (r >= 0)
		r = sd_event_add_time(loop, &t->group_timer, CLOCK_MONOTONIC, 0, 50 * US_PER_MS, on_group, t);
	if (r >= 0)
		r = sd_event_source_set_enabled(t->group_timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(loop, &t->work_source, on_work, t);
	if (r >= 0)
		r = sd_event_source_set_enabled(t->work_source, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_priority(t->work_source, SD_EVENT_PRIORITY_IDLE);
	return r < 0 ? r : hang_watches_on_loop(t, loop);
}

static int start(struct agent *a, void **ret_state, struct err *e)
{
	struct tail *t;
	int r;

	*ret_state = NULL;
	if (agent_config(a)->n_log_files == 0)
		return 0;
	t = calloc(1, sizeof *t);
	if (!t)
		return err_set(e, ENOMEM, "out of memory for following log files");
	t->agent = a;
	t->files = (struct tail_files){ .agent = a, .reader = &t->reader, .watches = watches_new() };
	r = reader_init(&t->reader, a, e);
	if (r >= 0) {
		r = hang_on_loop(t);
		if (r < 0)
			err_set(e, -r, "cannot follow log files: %s", strerror(-r));
	}
	if (r < 0) {
		stop(t);
		return r;
	}
	*ret_state = t;
	return 0;
}

/* Where the database stands is where reading goes on, whatever was read before. */
static bool positions(void *state, const struct position *p, size_t n)
{
	struct tail *t = state;

	if (!tail_files_positions(&t->files, p, n))
		return false;
	t->known = true;
	t->full = false;
	look(t);
	sd_event_source_set_enabled(t->work_source, SD_EVENT_ONESHOT);
	return true;
}

static const struct position *position_of(const struct batch *b, const int64_t *ids, const struct stream *s)
{
	for (size_t i = 0; i < b->n_positions; i++)
		if (ids[i] == stream_id(s))
			return &b->positions[i];
	return NULL;
}

static void committed(void *state, const struct batch *b)
{
	struct tail *t = state;
	int64_t ids[BATCH_STREAMS_MAX];

	for (size_t i = 0; i < b->n_positions; i++)
		ids[i] = b->positions[i].stream_id;
	for (struct stream *s = t->files.streams, *next; s; s = next) {
		const struct position *p = position_of(b, ids, s);

		next = stream_next(s);
		if (!p)
			continue;
		stream_committed(s, p->to);
		if (p->tells_lost)
			stream_loss_committed(s);
		if (p->finished && stream_ended(s))         /* and not taken up again */
			tail_files_finished(&t->files, s, p);
	}
}

static void resume(void *state)
{
	struct tail *t = state;

	t->full = false;
	sd_event_source_set_enabled(t->work_source, SD_EVENT_ONESHOT);
}

/* The files and their settings are read from the configuration at the next look. */
static void reload(void *state)
{
	struct tail *t = state;

	reader_set_zone(&t->reader);
	t->files.reconfigured = true;
	look(t);
	sd_event_source_set_enabled(t->work_source, SD_EVENT_ONESHOT);
}

static bool once(void *state)
{
	struct tail *t = state;

	t->last = true;
	look(t);
	return t->known && !work(t) && !t->full;
}

static bool status(void *state, struct buf *out)
{
	struct tail *t = state;
	const struct reader *r = &t->reader;

	return buf_addc(out, '{') && tail_status_files(&t->files, out) &&
	       buf_addf(out,
			",\"lines\":%" PRId64 ",\"cut\":%" PRId64 ",\"suppressed\":%" PRId64
			",\"paused\":%s}",
			r->lines, r->cut, r->suppressed, t->full ? "true" : "false");
}

const struct source src_tail = {
	.name = "tail",
	.start = start,
	.positions = positions,
	.committed = committed,
	.resume = resume,
	.reload = reload,
	.once = once,
	.status = status,
	.stop = stop,
};
