#include "tail_files.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/cleanup.h"
#include "../common/clock.h"
#include "log_name.h"

enum {
	NAMES_MAX = 10000,              /* names looked at in a folder, in search of a rotated file */
	OTHER_DESCRIPTORS = 64,         /* left for the database, checks and what the agent reads of itself */
	SETTLED_S = 2,                  /* a folder that changed so lately may change again at the same time stamp */
};

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
		unused->code = 0;
	}
	return unused;
}

static void say_once(struct tail_files *t, const char *path, int code, const char *sentence)
{
	struct trouble *slot = trouble_of(t, path);

	if (!slot) {
		if (!lasts(t, t->unnamed_look))
			logcore_warning(agent_log(t->agent), "cannot follow log files: more than are named here",
					logcore_kv("named", TROUBLES_MAX));
		t->unnamed_look = t->look;
		return;
	}
	slot->look = t->look;
	if (slot->code == code)
		return;
	slot->code = code;
	if (code == ENOENT)
		logcore_info(agent_log(t->agent), "waiting for log file", logcore_kv("path", path));
	else
		logcore_warning(agent_log(t->agent), "cannot follow log file", logcore_kv("path", path),
				logcore_kv("error", sentence));
}

void tail_files_trouble(struct tail_files *t, const char *path, int code)
{
	say_once(t, path, code, strerror(code));
}

/* ---- the set of streams ---- */

/* Wake when the file grows, and when names in its folder change. */
static void watch(struct tail_files *t, struct stream *s)
{
	char link[32], dir[256];
	const char *name;

	if (t->inotify_fd < 0 || s->watch >= 0)
		return;
	snprintf(link, sizeof link, "/proc/self/fd/%d", s->fd);
	s->watch = inotify_add_watch(t->inotify_fd, link, IN_MODIFY);
	if (log_name_split(s->path, dir, sizeof dir, &name))
		inotify_add_watch(t->inotify_fd, dir, IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_ONLYDIR);
}

static void add_stream(struct tail_files *t, struct stream *s)
{
	s->next = t->streams;
	t->streams = s;
	t->n_streams++;
	watch(t, s);
}

static void remove_stream(struct tail_files *t, struct stream *gone)
{
	struct stream **at = &t->streams;

	while (*at != gone)
		at = &(*at)->next;
	*at = gone->next;
	t->n_streams--;
	if (gone->watch >= 0)
		inotify_rm_watch(t->inotify_fd, gone->watch);
	stream_free(gone);
}

static void remember(struct tail_files *t, const struct position *end)
{
	t->over[t->next_over] = *end;
	t->next_over = (t->next_over + 1) % FILES_OVER_MAX;
	if (t->n_over < FILES_OVER_MAX)
		t->n_over++;
}

void tail_files_finished(struct tail_files *t, struct stream *s, const struct position *end)
{
	remember(t, end);
	remove_stream(t, s);
}

static struct position *find_position(struct position *p, size_t n, const struct stream *s)
{
	for (size_t i = 0; i < n; i++)
		if (stream_is(s, &p[i]))
			return &p[i];
	return NULL;
}

/* If there was a stream for this file, take it up: the database's, or a finished one. */
static bool take_up(struct tail_files *t, struct stream *s)
{
	struct position *p = find_position(t->missing, t->n_missing, s);

	if (p) {
		stream_resume(s, p);
		*p = t->missing[--t->n_missing];
		return true;
	}
	p = find_position(t->over, t->n_over, s);
	if (!p)
		return false;
	stream_resume(s, p);
	p->file_id[0] = '\0';           /* its place in the ring stays, and means no file */
	return true;
}

static struct stream *find_open(struct tail_files *t, dev_t dev, ino_t ino)
{
	for (struct stream *s = t->streams; s; s = s->next)
		if (s->ino == ino && s->dev == dev)
			return s;
	return NULL;
}

/* Open a file that no stream is for; NULL and e->code 0: there is one after all,
 * the name was given to another file just now. */
static struct stream *open_new(struct tail_files *t, const char *path, struct err *e)
{
	struct stream *s;

	if (t->n_streams >= t->streams_max) {
		err_set(e, EMFILE, "too many files: no more than %zu are followed", t->streams_max);
		return NULL;
	}
	if (stream_open(path, &s, e) < 0)
		return NULL;
	e->code = 0;
	if (find_open(t, s->dev, s->ino)) {
		stream_free(s);
		return NULL;
	}
	return s;
}

/* ---- looking ---- */

static void look_at(struct tail_files *t, const char *path)
{
	struct stream *s;
	struct stat st;
	struct err e;

	if (stat(path, &st) < 0) {
		say_once(t, path, errno, strerror(errno));
		return;
	}
	if (!S_ISREG(st.st_mode)) {
		say_once(t, path, EINVAL, "not a regular file");
		return;
	}
	s = find_open(t, st.st_dev, st.st_ino);
	if (!s) {
		s = open_new(t, path, &e);
		if (!s) {
			if (e.code)
				say_once(t, path, e.code, e.msg);
			return;
		}
		take_up(t, s);
		add_stream(t, s);
	}
	s->current = true;
	s->idle_since_us = mono_us();   /* a rotated file is silent from its rotation on */
}

static void look_at_pattern(struct tail_files *t, const char *pattern)
{
	glob_t found;

	if (!log_name_is_pattern(pattern)) {
		look_at(t, pattern);
		return;
	}
	if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			if (!log_name_is_packed(found.gl_pathv[i]))
				look_at(t, found.gl_pathv[i]);
		globfree(&found);
	}
}

/* ---- files that were rotated away ---- */

/* A finished stream's file, and nothing came to it since. */
static bool nothing_new(struct tail_files *t, const struct stream *s)
{
	const struct position *p = find_position(t->over, t->n_over, s);

	return p && p->to == s->size;
}

/* Open a name of a folder unless it is open already; NULL: nothing for us. */
static struct stream *open_unknown(struct tail_files *t, const char *dir, const char *name)
{
	struct stream *s;
	char path[512];
	struct stat st;
	struct err e;

	if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path || lstat(path, &st) < 0 ||
	    !S_ISREG(st.st_mode) || find_open(t, st.st_dev, st.st_ino))
		return NULL;
	s = open_new(t, path, &e);
	if (s && nothing_new(t, s)) {
		stream_free(s);
		return NULL;
	}
	return s;
}

/* Look through the folder of `path` for files that the database waits for. */
static void search_missing(struct tail_files *t, const char *path)
{
	CLEANUP(closedir_p) DIR *d = NULL;
	struct dirent *entry;
	const char *name;
	char dir[256];
	int left = NAMES_MAX;

	if (!log_name_split(path, dir, sizeof dir, &name))
		return;
	d = opendir(dir);
	while (d && t->n_missing && left-- > 0 && (entry = readdir(d))) {
		struct stream *s = open_unknown(t, dir, entry->d_name);

		if (s && take_up(t, s))
			add_stream(t, s);
		else
			stream_free(s);
	}
}

/* It begins as `old` does, and need not be a copy: so it is counted, once. */
static void pass_over_copy(struct tail_files *t, struct stream *s, const struct stream *old)
{
	struct position end;
	char detail[600];

	snprintf(detail, sizeof detail, "%s begins as %s does: taken for a copy and not read", s->path, old->path);
	reader_gap(t->reader, old, "copy_passed_over", -1, s->size, detail);
	stream_jump(s, s->size);
	stream_position(s, &end);
	remember(t, &end);
	stream_free(s);
}

/*
 * A log that was rotated twice between two looks, or while the agent did not
 * run, left a file that no path led to when somebody looked. It is in the same
 * folder, has a name made of the log's, is younger than the file that was known,
 * and is no copy of it.
 */
static void search_successors(struct tail_files *t, struct stream *old)
{
	CLEANUP(closedir_p) DIR *d = NULL;
	struct dirent *entry;
	const char *name;
	char dir[256];
	struct stat st;
	int left = NAMES_MAX;

	if (!log_name_split(old->log_path, dir, sizeof dir, &name) || stat(dir, &st) < 0 ||
	    (st.st_mtim.tv_sec == old->searched.tv_sec && st.st_mtim.tv_nsec == old->searched.tv_nsec))
		return;
	if (wall_us() / US_PER_S - st.st_mtim.tv_sec >= SETTLED_S)
		old->searched = st.st_mtim;
	d = opendir(dir);
	while (d && left-- > 0 && (entry = readdir(d))) {
		struct stream *s = NULL;

		if (log_name_is_rotated(name, entry->d_name))
			s = open_unknown(t, dir, entry->d_name);
		if (!s)
			continue;
		if (take_up(t, s)) {
			add_stream(t, s);
		} else if (!stream_is_younger(s, old)) {
			stream_free(s);
		} else if (!stream_is_copy(s, old)) {
			memcpy(s->log_path, old->log_path, sizeof s->log_path);
			add_stream(t, s);
		} else if (t->over) {
			pass_over_copy(t, s, old);
		} else {
			stream_free(s);         /* it is judged when it is known what is over */
		}
	}
}

/* The file is nowhere: end its stream, and say that its rest may be lost. */
static bool give_up(struct tail_files *t, const struct position *p)
{
	struct stream gone = { .fd = -1, .id = p->stream_id };
	struct position end = *p;
	char detail[400];

	end.from = end.to;
	end.finished = true;
	if (!agent_advance(t->agent, &end))
		return false;
	remember(t, &end);              /* should it come back */
	snprintf(detail, sizeof detail, "%s was removed while the agent did not run; what came after byte %" PRId64
		 " was not read", p->path, p->to);
	reader_gap(t->reader, &gone, "file_gone", -1, -1, detail);
	logcore_warning(agent_log(t->agent), "log file is gone", logcore_kv("path", p->path),
			logcore_kv("position", p->to));
	return true;
}

/* After the first look: what the database knows and no path leads to. */
static void find_missing(struct tail_files *t)
{
	for (size_t i = t->n_missing; i > 0; i--)
		if (i <= t->n_missing)
			search_missing(t, t->missing[i - 1].path);
	while (t->n_missing && give_up(t, &t->missing[t->n_missing - 1]))
		t->n_missing--;
}

/* So many files that the descriptors that are left are enough for all else. */
static size_t streams_max(void)
{
	struct rlimit limit = { FILES_MAX, FILES_MAX };
	size_t n;

	getrlimit(RLIMIT_NOFILE, &limit);
	n = limit.rlim_cur > 2 * OTHER_DESCRIPTORS ? limit.rlim_cur - OTHER_DESCRIPTORS : limit.rlim_cur / 2;
	return n < FILES_MAX ? n : FILES_MAX;
}

void tail_files_look(struct tail_files *t)
{
	const struct config *c = agent_config(t->agent);

	t->look++;
	t->streams_max = streams_max();
	for (struct stream *s = t->streams; s; s = s->next)
		s->current = false;
	for (size_t i = 0; i < c->n_log_files; i++)
		look_at_pattern(t, c->log_files[i]);
	if (t->n_missing)
		find_missing(t);
	for (struct stream *s = t->streams; s; s = s->next)
		if (!s->current && !s->finished)
			search_successors(t, s);
}

bool tail_files_positions(struct tail_files *t, const struct position *p, size_t n)
{
	CLEANUP(free_p) struct position *missing = calloc(n ? n : 1, sizeof *missing);

	if (!t->over)
		t->over = calloc(FILES_OVER_MAX, sizeof *t->over);
	if (!missing || !t->over)
		return false;
	free(t->missing);
	t->missing = TAKE_PTR(missing);
	t->n_missing = t->n_over = t->next_over = 0;
	for (size_t i = n; i-- > 0;)    /* the latest comes first, and is to be forgotten last */
		if (p[i].finished)
			remember(t, &p[i]);
		else
			t->missing[t->n_missing++] = p[i];
	for (struct stream *s = t->streams; s; s = s->next) {
		s->searched = (struct timespec){ 0 };
		if (!take_up(t, s))
			stream_restart(s);
	}
	return true;
}

void tail_files_free(struct tail_files *t)
{
	while (t->streams)
		remove_stream(t, t->streams);
	close_p(&t->inotify_fd);
	free(t->missing);
	free(t->over);
}

