#include "tail_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "log_name.h"

/* ---- trouble is said once ---- */

/* Did this look or the one before meet it? What they did not meet is over. */
static bool lasts(const struct tail_files *t, unsigned look)
{
	return look && t->look - look <= 1;
}

/* The place where the trouble with `path` is remembered, or a free one; NULL: all
 * are taken. */
static struct trouble *trouble_of(struct tail_files *t, const char *path)
{
	struct trouble *unused = NULL;

	for (struct trouble *x = t->troubles; x < t->troubles + TROUBLES_MAX; x++)
		if (!lasts(t, x->look))
			unused = x;
		else if (strncmp(x->path, path, sizeof x->path - 1) == 0)
			return x;
	if (unused) {
		snprintf(unused->path, sizeof unused->path, "%s", path);
		unused->code = unused->before = 0;
	}
	return unused;
}

bool tail_files_lasts(const struct tail_files *t, const struct trouble *x)
{
	return lasts(t, x->look);
}

void tail_files_say_once(struct tail_files *t, const char *path, int code, const char *sentence)
{
	struct trouble *slot = trouble_of(t, path);
	bool swings;                    /* somebody changes it to and fro: both were said */

	if (!slot) {
		if (!lasts(t, t->unnamed_look))
			logcore_warning(agent_log(t->agent),
					"cannot follow log files: more than are named here",
					logcore_kv("named", TROUBLES_MAX));
		t->unnamed_look = t->look;
		return;
	}
	slot->look = t->look;
	if (slot->code == code)
		return;
	swings = slot->before == code;
	slot->before = slot->code;
	slot->code = code;
	snprintf(slot->why, sizeof slot->why, "%s", sentence);
	if (swings)
		return;
	if (code == ENOENT)
		logcore_info(agent_log(t->agent), "waiting for log file", logcore_kv("path", path));
	else
		logcore_warning(agent_log(t->agent), "cannot follow log file", logcore_kv("path", path),
				logcore_kv("error", sentence));
	if (code != ENOENT)
		agent_tell_state(t->agent);
}

void tail_files_trouble(struct tail_files *t, const char *path, int code)
{
	tail_files_say_once(t, path, code, strerror(code));
}

/* ---- the set of streams ---- */

static size_t file_bucket(dev_t dev, ino_t ino)
{
	return (size_t)((ino ^ dev) * UINT64_C(0x9e3779b97f4a7c15) >> 32) % FILES_BUCKETS;
}

struct stream *tail_files_find(const struct tail_files *t, dev_t dev, ino_t ino)
{
	struct stream *s = t->by_file[file_bucket(dev, ino)];

	while (s && (stream_file(s)->ino != ino || stream_file(s)->dev != dev))
		s = stream_links(s)->same_file;
	return s;
}

static struct stream *find_watch(const struct tail_files *t, int watch)
{
	struct stream *s = t->by_watch[(size_t)watch % FILES_BUCKETS];

	while (s && stream_links(s)->watch != watch)
		s = stream_links(s)->same_watch;
	return s;
}

/* Wake when the file grows. A watch needs no descriptor: a parked file keeps it. */
static void watch(struct tail_files *t, struct stream *s)
{
	struct stream_links *links = stream_links(s);
	struct stream **bucket;

	tail_cover_again(t);
	if (links->watch >= 0)
		return;
	links->blind = !watches_trust(t->watches, stream_file(s)->dev, stream_fd(s));
	links->watch = watches_add_file(t->watches, stream_fd(s));
	if (links->watch < 0)
		return;
	bucket = &t->by_watch[(size_t)links->watch % FILES_BUCKETS];
	links->same_watch = *bucket;
	*bucket = s;
}

static void unwatch(struct tail_files *t, struct stream *s)
{
	const struct stream_links *links = stream_links(s);
	struct stream **at;

	if (links->watch < 0)
		return;
	for (at = &t->by_watch[(size_t)links->watch % FILES_BUCKETS]; *at != s;)
		at = &stream_links(*at)->same_watch;
	*at = links->same_watch;
	watches_remove_file(t->watches, links->watch);
}

void tail_files_add(struct tail_files *t, struct stream *s)
{
	struct stream_links *links = stream_links(s);
	struct stream **bucket = &t->by_file[file_bucket(stream_file(s)->dev, stream_file(s)->ino)];

	links->next = t->streams;
	t->streams = s;
	links->same_file = *bucket;
	*bucket = s;
	t->n_streams++;
	t->n_open++;
	watch(t, s);
	tail_files_debug(t, s, "log file opened");
}

void tail_files_debug(const struct tail_files *t, const struct stream *s, const char *what)
{
	logcore_debug(agent_log(t->agent), what, logcore_kv("path", stream_path(s)),
		      logcore_kv("stream", stream_id(s)), logcore_kv("position", stream_offset(s)),
		      logcore_kv("size", stream_size(s)));
}

void tail_files_say_rotated(const struct tail_files *t, const char *from, const char *to)
{
	char sentence[2 * STREAM_PATH_SIZE + 64];

	if (!logcore_enabled(agent_log(t->agent), LOGCORE_DEBUG) || strcmp(from, to) == 0)
		return;
	snprintf(sentence, sizeof sentence, "log rotated: %s is now %s", from, to);
	logcore_debug(agent_log(t->agent), sentence, logcore_kv("path", from), logcore_kv("now", to));
}

void tail_files_debug_left(const struct tail_files *t, const struct stream *s)
{
	char now[STREAM_PATH_SIZE];

	if (stream_fd(s) < 0 || !logcore_enabled(agent_log(t->agent), LOGCORE_DEBUG))
		return;
	if (stream_name_now(s, now, sizeof now))
		tail_files_say_rotated(t, stream_path(s), now);
	else
		tail_files_debug(t, s, "log file removed");
}

void tail_files_remove(struct tail_files *t, struct stream *gone)
{
	struct stream **at;

	for (at = &t->streams; *at != gone;)
		at = &stream_links(*at)->next;
	*at = stream_next(gone);
	for (at = &t->by_file[file_bucket(stream_file(gone)->dev, stream_file(gone)->ino)]; *at != gone;)
		at = &stream_links(*at)->same_file;
	*at = stream_links(gone)->same_file;
	unwatch(t, gone);
	t->n_streams--;
	t->n_open -= stream_fd(gone) >= 0;
	stream_free(gone);
}

void tail_files_remember(struct tail_files *t, const struct position *end)
{
	struct remembered_file f = { .at = *end, .read_us = wall_us() };

	remembered_add(&t->finished, &f, FILES_OVER_MAX);
}

void tail_files_finished(struct tail_files *t, struct stream *s, const struct position *end)
{
	tail_files_remember(t, end);
	tail_files_remove(t, s);
}

void tail_files_begin_with(struct tail_files *t, struct stream *first)
{
	struct stream *last = first, *head = t->streams;

	if (head == first)
		return;
	while (stream_next(last))
		last = stream_next(last);
	stream_links(last)->next = head;
	while (stream_next(head) != first)
		head = stream_next(head);
	stream_links(head)->next = NULL;
	t->streams = first;
}

static bool go_on_behind(struct tail_files *t, struct stream *s)
{
	struct remembered_file *f = remembered_find_torn(&t->missing, s);

	if (f)
		f->torn = f->whole = true;
	else if (!remembered_find_torn(&t->finished, s))
		return false;
	stream_restart_behind(s);
	return true;
}

/* The database's position of a file that was renamed since: others may have come and gone. */
static void take_over(const struct tail_files *t, struct stream *s, const struct remembered_file *f)
{
	stream_resume(s, &f->at);
	tail_files_say_rotated(t, stream_log_path(s), stream_path(s));
	stream_search_since(s, f->since_us);
	if (strcmp(stream_path(s), stream_log_path(s)) != 0)
		stream_search_for_a_while(s);
}

bool tail_files_take_up(struct tail_files *t, struct stream *s)
{
	struct remembered_file *f = remembered_find(&t->missing, s), *over = remembered_find(&t->finished, s);

	if (f && over && over->at.to > f->at.to) {
		f->torn = f->whole = true;      /* the same file was read on in another stream */
		f = NULL;
	}
	if (f) {
		take_over(t, s, f);
		remembered_remove(&t->missing, f);
		/* Killed between the two: this one goes on and has told, the torn one was not ended. */
		f = remembered_find_torn(&t->missing, s);
		if (f)
			f->torn = f->whole = true;
		return true;
	}
	if (over) {
		stream_resume(s, &over->at);
		remembered_forget(&t->finished, over);
		return true;
	}
	return go_on_behind(t, s);
}

bool tail_files_led_to(const struct tail_files *t, const struct stream *s)
{
	return stream_look(s) == t->look && t->look > 0;
}

struct stream *tail_files_open_new(struct tail_files *t, const char *path, struct err *e)
{
	struct stream *s;

	if (t->n_streams >= FILES_MAX) {
		err_set(e, EMFILE, "too many files: no more than %d are followed", FILES_MAX);
		return NULL;
	}
	if (stream_open(path, agent_log(t->agent), &s, e) < 0)
		return NULL;
	e->code = 0;
	if (tail_files_find(t, stream_file(s)->dev, stream_file(s)->ino)) {
		stream_free(s);
		return NULL;
	}
	return s;
}

/* ---- descriptors ---- */

void tail_files_lose(struct tail_files *t, struct stream *s)
{
	struct remembered_file f = remembered_of(s);

	f.whole = stream_links(s)->watch >= 0 && stream_is_read_whole(s);
	if (stream_ended(s))
		tail_files_remember(t, &f.at);
	else if (!remembered_add(&t->missing, &f, 0))
		return;                 /* out of memory: at the next look */
	tail_files_remove(t, s);
}

/* Files with nothing to read make room: many at once, since finding them costs. */
static void park_idle(struct tail_files *t)
{
	size_t n = t->open_max / 4 + 1;

	for (struct stream *s = t->streams; s && n > 0; s = stream_next(s))
		if (stream_fd(s) >= 0 && stream_life(s) == FOLLOWED && !stream_is_dirty(s) &&
		    stream_park(s)) {
			t->n_open--;
			n--;
		}
}

bool tail_files_may_open(struct tail_files *t)
{
	if (t->n_open >= t->open_max)
		park_idle(t);
	return t->n_open < t->open_max;
}

bool tail_files_open(struct tail_files *t, struct stream *s)
{
	struct err e;

	if (stream_fd(s) >= 0)
		return true;
	if (stream_life(s) == MISLAID || !tail_files_may_open(t))
		return false;
	if (stream_reopen(s, &e) < 0) {
		if (e.code != ESTALE && e.code != ENOENT)
			tail_files_say_once(t, stream_path(s), e.code, e.msg);
		stream_mislay(s);       /* the next look finds where it is now */
		return false;
	}
	t->n_open++;
	return true;
}

void tail_files_park_if_scarce(struct tail_files *t, struct stream *s)
{
	if (t->n_open >= t->open_max && stream_life(s) == FOLLOWED && stream_fd(s) >= 0 && stream_park(s))
		t->n_open--;
}

/* ---- events ---- */

static void mark_all_dirty(struct tail_files *t)
{
	for (struct stream *s = t->streams; s; s = stream_next(s))
		stream_set_dirty(s, true);
}

static void take_news(void *data, int number, enum watch_news news)
{
	struct tail_files *t = data;
	struct stream *s = number < 0 ? NULL : find_watch(t, number);

	if (news == WATCH_OVERFLOW)
		mark_all_dirty(t);
	if (!s)
		return;
	stream_links(s)->told = true;
	stream_links(s)->unexplained = false;
	switch (news) {
	case WATCH_GREW:
		stream_links(s)->untold = false;
		stream_set_dirty(s, true);
		break;
	case WATCH_MOVED:
		stream_set_moved(s);
		break;
	case WATCH_GONE:
		stream_links(s)->blind = true;
		break;
	case WATCH_TOUCHED:
	case WATCH_OVERFLOW:
		break;
	}
}

bool tail_files_events(struct tail_files *t)
{
	bool names = watches_read(t->watches, take_news, t);

	if (names)
		tail_cover_again(t);
	return names;
}

void tail_files_remounted(struct tail_files *t)
{
	watches_mounts_changed(t->watches);
	t->cover_at_us = 0;
}

void tail_files_free(struct tail_files *t)
{
	while (t->streams)
		tail_files_remove(t, t->streams);
	watches_free(t->watches);
	free(t->folders);
	remembered_free(&t->missing);
	remembered_free(&t->finished);
}
