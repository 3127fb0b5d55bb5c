/*
 * tail_look.c - which files the configured paths lead to now.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/path_pattern.h"
#include "log_name.h"
#include "names.h"
#include "tail_files.h"

enum {
	OTHER_DESCRIPTORS = 64, /* left for the database, checks and what the agent reads of itself */
	HELD_FOR_S = 5,         /* a rotated file is kept so long, however many there are */
	OVER_AFTER_S = 60,      /* nobody can open a file without a name: silent so long, it is over, ... */
	REMOVED_FOR_S = 3600,   /* ... or so long where its writer has no other file in its place */
};

/* rsync, sed -i, an editor: another file took the name, with the text that was read and perhaps more. */
static bool go_on_in_replacement(struct tail_files *t, struct stream *s)
{
	struct position p;
	struct stat st;

	for (struct stream *l = t->streams; l; l = stream_next(l)) {
		if (stream_fd(l) < 0 || stream_ended(l) || stream_offset(l) == 0 ||
		    strcmp(stream_log_path(l), stream_path(s)) != 0 ||
		    fstat(stream_fd(l), &st) < 0 || st.st_nlink > 0 || st.st_size != stream_offset(l))
			continue;
		stream_position(l, &p);
		if (stream_likeness(s, &p) != COPY)
			continue;
		stream_resume(s, &p);
		tail_files_remove(t, l);
		return true;
	}
	return false;
}

/* A file that is new to us. NULL: there is nothing to follow. */
static struct stream *begin(struct tail_files *t, const char *path)
{
	struct err e;
	struct stream *s = tail_files_open_new(t, path, &e);

	if (!s) {
		if (e.code)
			tail_files_say_once(t, path, e.code, e.msg);
		return NULL;
	}
	if (!tail_files_take_up(t, s) && !go_on_in_replacement(t, s) && tail_copy_admit(t, s) != ADMITTED) {
		stream_free(s);
		return NULL;
	}
	tail_files_add(t, s);
	return s;
}

static void take_note(struct tail_files *t, struct stream *s, const char *path)
{
	struct reading *reading = stream_reading(s);

	if (!reading->settings)
		reading->settings = config_log_file(agent_config(t->agent), path);
	stream_path_leads(s, t->look);
	tail_files_park_if_scarce(t, s);
}

/* False: a file that is new to us is there. */
static bool look_at_known(struct tail_files *t, const char *path)
{
	char before[STREAM_PATH_SIZE];
	struct stream *s;
	struct stat st;

	if (stat(path, &st) < 0) {
		tail_files_say_once(t, path, errno, strerror(errno));
		return true;
	}
	if (!S_ISREG(st.st_mode)) {
		tail_files_say_once(t, path, EPERM, "not a regular file; name one");
		return true;
	}
	s = tail_files_find(t, st.st_dev, st.st_ino);
	if (s && stream_fd(s) < 0 && st.st_size != stream_size(s) && stream_replaced(s, path)) {
		tail_files_lose(t, s);
		s = NULL;
	}
	if (!s)
		return false;
	memcpy(before, stream_path(s), sizeof before);
	stream_found_at(s, path);
	tail_files_say_rotated(t, before, stream_path(s));
	tail_cover_seen(s, &st);
	take_note(t, s, path);
	return true;
}

/* ... and gives those that are new to us. */
static void look_at_all_known(struct tail_files *t, const struct path_list *files, struct path_list *ret_new)
{
	for (size_t i = 0; i < files->n; i++)
		if (!look_at_known(t, files->path[i]))
			path_list_add(ret_new, files->path[i]); /* out of memory: at the next look */
}

/* The largest first. */
static void begin_all(struct tail_files *t, struct path_list *new)
{
	names_sort(new);
	for (size_t i = 0; i < new->n; i++) {
		struct stream *s = begin(t, new->path[i]);

		if (s)
			take_note(t, s, new->path[i]);
		t->judge_again |= !s;
	}
}

static bool is_packed(const char *configured, const char *path)
{
	return log_name_is_packed(path) && strcmp(configured, path) != 0;
}

/* What the configured paths lead to; packed files only where one is named. */
static void find_paths(struct tail_files *t, struct path_list *files, struct path_list *folders)
{
	const struct config *c = agent_config(t->agent);

	for (size_t i = 0; i < c->n_log_files; i++) {
		size_t n = files->n, kept = n;
		int r = path_pattern_find(c->log_files[i].path, files, folders);

		for (; n < files->n; n++)
			if (is_packed(c->log_files[i].path, files->path[n]))
				free(files->path[n]);
			else
				files->path[kept++] = files->path[n];
		files->n = kept;
		if (r == -E2BIG)
			tail_files_say_once(
				t, c->log_files[i].path, E2BIG,
				"the pattern leads to too many folders or names; write a narrower one");
		else if (r < 0)
			tail_files_trouble(t, c->log_files[i].path, -r);
	}
}

/* So many files that the descriptors that are left are enough for all else. */
static size_t open_max(void)
{
	struct rlimit limit = { FILES_OPEN_MAX, FILES_OPEN_MAX };
	size_t n;

	getrlimit(RLIMIT_NOFILE, &limit);
	n = limit.rlim_cur / 8;
	if (limit.rlim_cur > n + OTHER_DESCRIPTORS)
		n = limit.rlim_cur - OTHER_DESCRIPTORS;
	return n < FILES_OPEN_MAX ? n : FILES_OPEN_MAX;
}

/* ---- files that no path leads to ---- */

static bool idle_for(const struct stream *s, int64_t seconds)
{
	return mono_us() - stream_progress(s)->idle_since_us > seconds * US_PER_S;
}

static void lose_mislaid(struct tail_files *t)
{
	for (struct stream *s = t->streams, *next; s; s = next) {
		next = stream_next(s);
		if (stream_life(s) == MISLAID)
			tail_files_lose(t, s);
	}
}

/* Removed by hand, a log may be written to for as long as its writer lives. Once another file has
 * its name, the writer has most likely let it go. */
static bool is_let_go(const struct stream *s)
{
	struct stat st;

	return stream_is_unlinked(s) && idle_for(s, OVER_AFTER_S) &&
	       (idle_for(s, REMOVED_FOR_S) || stat(stream_log_path(s), &st) == 0);
}

/* A file that was rotated is kept while somebody may write to it; nobody writes to a copy, even
 * where a pattern leads to it. */
static void look_at_rotated(struct tail_files *t)
{
	struct stat st;

	t->n_held = 0;
	for (struct stream *s = t->streams; s; s = stream_next(s)) {
		if (stream_ended(s) || stream_life(s) == DROPPED || stream_fd(s) < 0)
			continue;
		if (stream_is_copy(s))
			stream_call_over(s);
		if (tail_files_led_to(t, s))
			continue;
		t->n_held++;
		if (fstat(stream_fd(s), &st) == 0)
			tail_cover_seen(s, &st);
		if (is_let_go(s))
			stream_call_over(s);
	}
}

static struct stream *longest_silent(const struct tail_files *t)
{
	struct stream *found = NULL;

	for (struct stream *s = t->streams; s; s = stream_next(s))
		if (stream_life(s) == ROTATED && idle_for(s, HELD_FOR_S) &&
		    (!found || stream_progress(s)->idle_since_us < stream_progress(found)->idle_since_us))
			found = s;
	return found;
}

/* More than may be held: those that have been silent for longest are over. */
static void hold_fewer(struct tail_files *t)
{
	size_t max = t->open_max / 4 < FILES_HELD_MAX ? t->open_max / 4 : FILES_HELD_MAX;

	for (size_t n = t->n_held; n > max; n--) {
		struct stream *s = longest_silent(t);

		if (!s)
			return;
		stream_call_over(s);
	}
}

static struct stream *stream_at_path(const struct tail_files *t, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? tail_files_find(t, st.st_dev, st.st_ino) : NULL;
}

/* No path leads to it any more. After a change of the configuration it is dropped, unless it was renamed just
 * now: then it was rotated like any other. */
static void leave(struct tail_files *t, struct stream *s)
{
	if (t->reconfigured && stream_at_path(t, stream_path(s)) == s) {
		stream_drop(s);
		return;
	}
	tail_files_debug_left(t, s);
	stream_path_left(s);
}

static void leave_all(struct tail_files *t)
{
	for (struct stream *s = t->streams; s; s = stream_next(s))
		if ((stream_life(s) == FOLLOWED && !tail_files_led_to(t, s)) ||
		    (stream_life(s) == DROPPED && t->reconfigured))
			leave(t, s);
}

/* What was rotated from the place of a dropped log is not read further either. */
static void drop_rotated(struct tail_files *t)
{
	for (struct stream *s = t->streams; s; s = stream_next(s)) {
		const struct stream *log = NULL;

		if (stream_life(s) == ROTATED || stream_life(s) == OVER)
			log = stream_at_path(t, stream_log_path(s));
		if (log && (stream_life(log) == DROPPED || stream_life(log) == LET_GO))
			stream_drop(s);
	}
}

/* The settings of the old configuration. */
static void forget_settings(struct tail_files *t)
{
	for (struct stream *s = t->streams; s; s = stream_next(s)) {
		stream_reading(s)->settings = NULL;
		stream_forget_form(s);
	}
}

bool tail_files_look(struct tail_files *t)
{
	bool again;
	CLEANUP(path_list_free) struct path_list files = { 0 };
	CLEANUP(path_list_free) struct path_list folders = { 0 };
	CLEANUP(path_list_free) struct path_list new = { 0 };

	if (t->look++ == 0)
		t->started_us = wall_us() - STREAM_TICK_US;
	t->open_max = open_max();
	t->judge_again = false;
	tail_files_events(t);           /* so that a change that was told is known to be */
	if (t->reconfigured)
		forget_settings(t);
	find_paths(t, &files, &folders);
	look_at_all_known(t, &files, &new);
	leave_all(t);
	if (t->reconfigured)
		drop_rotated(t);
	t->reconfigured = false;
	begin_all(t, &new);
	again = tail_files_events(t);   /* was a file that is gone written to before? */
	for (struct stream *s = t->streams; s; s = stream_next(s))
		if (stream_is_prepared(s))
			stream_look_for_text(s);
	lose_mislaid(t);
	look_at_rotated(t);
	if (t->missing.n && t->all_known)
		tail_missing_search(t);
	tail_search_successors(t);
	tail_folders_look(t, &folders);
	hold_fewer(t);
	tail_cover_paths(t, &files, &folders);
	return again;
}
