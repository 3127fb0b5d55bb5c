/*
 * src_tail.c - follows log files: reads what they get, each file in its turn.
 *
 * Every configured path is resolved anew each second and whenever names change,
 * so that a rename, a new file and a `current` symlink that points elsewhere are
 * all the same event: the path leads to another file now. The file it led to
 * before is kept open, read to its end, and let go when its last line is
 * committed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "../common/clock.h"
#include "agent.h"
#include "reader.h"
#include "tail_files.h"

enum {
	LOOK_EVERY_S = 1,
	WAKE_EVERY_MS = 100,            /* inotify wakes no more often than this */
	WORK_BYTES = 1 << 20,           /* read at most so much before others have a turn */
	OVER_AFTER_S = 60,              /* a rotated file that is silent so long is over */
};

struct tail {
	struct agent *agent;
	struct tail_files files;
	struct reader reader;
	sd_event_source *look_timer, *work_source, *inotify_source;
	bool known;                     /* the database has told its positions */
	bool full;                      /* the batch refused a line */
};

/* ---- reading ---- */

/* A file that no path leads to and that has been silent is over. */
static bool over(const struct stream *s)
{
	return !s->current && mono_us() - s->idle_since_us > OVER_AFTER_S * US_PER_S;
}

static enum reader_result read_one(struct tail *t, struct stream *s)
{
	int64_t size_before = s->size;

	if (s->finished)
		return READER_END;
	if (!stream_unchanged(s))
		return reader_truncated(&t->reader, s, size_before) ? READER_MORE : READER_FULL;
	if (s->size < s->scanned)
		reader_cut_off(&t->reader, s);
	if (s->size > s->scanned)
		return reader_read(&t->reader, s);
	if (over(s))
		return reader_finish(&t->reader, s) ? READER_END : READER_FULL;
	return READER_END;
}

/* Whoever found the batch full is first when there is room again. */
static void begin_with(struct tail *t, struct stream *first)
{
	struct stream *last = first, *head = t->files.streams;

	if (head == first)
		return;
	while (last->next)
		last = last->next;
	last->next = head;
	while (head->next != first)
		head = head->next;
	head->next = NULL;
	t->files.streams = first;
}

/* Give every stream its turn, a block each, until nothing is left, the batch is
 * full or others must have their turn. True: there is more to do at once. */
static bool work(struct tail *t)
{
	int64_t start = t->reader.read;
	bool more = t->known && !t->full;

	while (more) {
		more = false;
		for (struct stream *s = t->files.streams; s; s = s->next) {
			enum reader_result r = read_one(t, s);

			more |= r == READER_MORE;
			if (r == READER_FAILED)
				tail_files_trouble(&t->files, s->path, errno);
			if (r == READER_FULL) {
				t->full = true;
				begin_with(t, s);
				return false;
			}
		}
		if (t->reader.read - start >= WORK_BYTES)
			return more;
	}
	return false;
}

static void work_on(struct tail *t)
{
	sd_event_source_set_enabled(t->work_source, work(t) ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
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

	(void)usec;
	tail_files_look(&t->files);     /* also while the database is away: an open file can't be lost */
	work_on(t);
	sd_event_source_set_time_relative(source, LOOK_EVERY_S * US_PER_S);
	return 0;
}

/* Which file it was does not matter; whether names changed does. */
static int on_inotify(sd_event_source *s, int fd, uint32_t revents, void *data)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct tail *t = data;
	bool names = false;
	ssize_t n;

	(void)s;
	(void)revents;
	while ((n = read(fd, events, sizeof events)) > 0)
		for (const char *p = events; p < events + n;) {
			const struct inotify_event *event = (const void *)p;

			names |= (event->mask & ~(uint32_t)IN_MODIFY) != 0;
			p += sizeof *event + event->len;
		}
	if (names)
		tail_files_look(&t->files);
	work_on(t);
	return 0;
}

/* ---- the source ---- */

static void stop(void *state)
{
	struct tail *t = state;

	sd_event_source_disable_unref(t->look_timer);
	sd_event_source_disable_unref(t->work_source);
	sd_event_source_disable_unref(t->inotify_source);
	tail_files_free(&t->files);
	reader_free(&t->reader);
	free(t);
}

static int hang_on_loop(struct tail *t)
{
	sd_event *loop = agent_loop(t->agent);
	int r;

	t->files.inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);        /* without it: once a second */
	r = sd_event_add_time_relative(loop, &t->look_timer, CLOCK_MONOTONIC, 0, 100 * US_PER_MS, on_look, t);
	if (r >= 0)
		r = sd_event_source_set_enabled(t->look_timer, SD_EVENT_ON);
	if (r >= 0)
		r = sd_event_add_defer(loop, &t->work_source, on_work, t);
	if (r >= 0)
		r = sd_event_source_set_enabled(t->work_source, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_priority(t->work_source, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0 && t->files.inotify_fd >= 0)
		r = sd_event_add_io(loop, &t->inotify_source, t->files.inotify_fd, EPOLLIN, on_inotify, t);
	if (r >= 0 && t->inotify_source)
		r = sd_event_source_set_ratelimit(t->inotify_source, WAKE_EVERY_MS * US_PER_MS, 1);
	return r;
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
	t->files = (struct tail_files){ .agent = a, .reader = &t->reader, .inotify_fd = -1 };
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
static void positions(void *state, const struct position *p, size_t n)
{
	struct tail *t = state;

	if (!tail_files_positions(&t->files, p, n))
		return;                 /* stays as it was; asked again after the next connect */
	t->known = true;
	t->full = false;
	tail_files_look(&t->files);
	sd_event_source_set_enabled(t->work_source, SD_EVENT_ONESHOT);
}

static void committed(void *state, const struct batch *b)
{
	struct tail *t = state;

	for (size_t i = 0; i < b->n_positions; i++)
		for (struct stream *s = t->files.streams, *next; s; s = next) {
			next = s->next;
			if (s->id != b->positions[i].stream_id)
				continue;
			s->committed = b->positions[i].to;
			if (b->positions[i].finished && s->finished)    /* and not taken up again */
				tail_files_finished(&t->files, s, &b->positions[i]);
		}
}

static void room(void *state)
{
	struct tail *t = state;

	t->full = false;
	sd_event_source_set_enabled(t->work_source, SD_EVENT_ONESHOT);
}

/* The list of files is read from the configuration at each look. */
static void reload(void *state)
{
	struct tail *t = state;

	tail_files_look(&t->files);
}

static bool once(void *state)
{
	struct tail *t = state;

	tail_files_look(&t->files);
	return t->known && !work(t) && !t->full;
}

static bool status(void *state, struct buf *out)
{
	struct tail *t = state;
	int64_t lag = 0;
	bool ok = buf_adds(out, "{\"streams\":["), first = true;

	for (struct stream *s = t->files.streams; s; s = s->next) {
		int64_t behind = s->size - s->committed;

		lag += behind;
		ok = ok && (first || buf_addc(out, ',')) && buf_adds(out, "{\"path\":") &&
		     buf_add_json(out, text_of(s->path)) &&
		     buf_addf(out, ",\"position\":%" PRId64 ",\"lag_bytes\":%" PRId64 ",\"rotated\":%s}",
			      s->committed, behind, s->current ? "false" : "true");
		first = false;
	}
	return ok && buf_addf(out, "],\"lag_bytes\":%" PRId64 ",\"lines\":%" PRId64 ",\"cut\":%" PRId64
			      ",\"paused\":%s}", lag, t->reader.lines, t->reader.cut, t->full ? "true" : "false");
}

const struct source src_tail = {
	.name = "tail",
	.start = start,
	.positions = positions,
	.committed = committed,
	.room = room,
	.reload = reload,
	.once = once,
	.status = status,
	.stop = stop,
};
