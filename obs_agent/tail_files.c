#include "tail_files.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/cleanup.h"

enum { NAMES_MAX = 10000 };     /* names looked at in a folder, in search of a rotated file */

/* ---- trouble is said once ---- */

static void say_once(struct tail_files *t, const char *path, int code, const char *sentence)
{
	struct trouble *slot = NULL;

	for (size_t i = 0; i < TROUBLES_MAX; i++)
		if (strcmp(t->troubles[i].path, path) == 0)
			slot = &t->troubles[i];
	if (slot && slot->code == code)
		return;
	if (!slot) {
		slot = &t->troubles[t->next_trouble++ % TROUBLES_MAX];
		snprintf(slot->path, sizeof slot->path, "%s", path);
	}
	slot->code = code;
	if (code == ENOENT)
		logcore_info(agent_log(t->agent), "waiting for log file", logcore_kv("path", path));
	else if (code)
		logcore_warning(agent_log(t->agent), "cannot follow log file", logcore_kv("path", path),
				logcore_kv("error", sentence));
}

/* Split "folder/name"; false where that is not possible. */
static bool split(const char *path, char *dir, size_t size, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (!slash || n >= size)
		return false;
	memcpy(dir, path, n);
	dir[n] = '\0';
	if (n == 0)
		snprintf(dir, size, "/");
	*ret_name = slash + 1;
	return true;
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
	if (split(s->path, dir, sizeof dir, &name))
		inotify_add_watch(t->inotify_fd, dir, IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_ONLYDIR);
}

static void add_stream(struct tail_files *t, struct stream *s)
{
	s->next = t->streams;
	t->streams = s;
	t->n_streams++;
	watch(t, s);
}

void tail_files_remove(struct tail_files *t, struct stream *gone)
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

/* If the database has a stream for this file, take it up. */
static bool take_up(struct tail_files *t, struct stream *s)
{
	for (size_t i = 0; i < t->n_missing; i++)
		if (stream_is(s, &t->missing[i])) {
			stream_resume(s, &t->missing[i]);
			t->missing[i] = t->missing[--t->n_missing];
			return true;
		}
	return false;
}

static struct stream *find_open(struct tail_files *t, const struct stat *st)
{
	for (struct stream *s = t->streams; s; s = s->next)
		if (s->ino == st->st_ino && s->dev == st->st_dev)
			return s;
	return NULL;
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
	s = find_open(t, &st);
	if (!s) {
		if (t->n_streams >= FILES_MAX) {
			say_once(t, path, EMFILE, "too many files: no more than 4096 are followed");
			return;
		}
		if (stream_open(path, &s, &e) < 0) {
			say_once(t, path, e.code, e.msg);
			return;
		}
		take_up(t, s);
		add_stream(t, s);
	}
	s->current = true;
	say_once(t, path, 0, NULL);
}

static bool is_pattern(const char *path)
{
	return strpbrk(path, "*?[") != NULL;
}

static void look_at_pattern(struct tail_files *t, const char *pattern)
{
	glob_t found;

	if (!is_pattern(pattern)) {
		look_at(t, pattern);
		return;
	}
	if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			look_at(t, found.gl_pathv[i]);
		globfree(&found);
	}
}

/* ---- files that were rotated away ---- */

/* Could a file called `name` be an older part of the log called `log`? As in
 * app.log.1, app.log-20261121, app-2026-11-21.log; what is packed is not text. */
static bool rotated_name(const char *log, const char *name)
{
	static const char *const packed[] = { ".gz", ".xz", ".bz2", ".zst", ".lz4", ".zip", ".Z" };
	size_t n = strlen(name), stem = strcspn(log, "."), middle;

	for (size_t i = 0; i < sizeof packed / sizeof *packed; i++)
		if (n > strlen(packed[i]) && strcmp(name + n - strlen(packed[i]), packed[i]) == 0)
			return false;
	if (strncmp(name, log, strlen(log)) == 0)
		return true;
	if (strncmp(name, log, stem) != 0)
		return false;
	middle = strspn(name + stem, "0123456789-_.T");
	return middle > 0 && (strcmp(name + stem + middle, log + stem) == 0 ||
			      strcmp(name + stem + middle - 1, log + stem) == 0);
}

/* Open a name of a folder unless it is open already; NULL: nothing for us. */
static struct stream *open_unknown(struct tail_files *t, const char *dir, const char *name)
{
	struct stream *s = NULL;
	char path[512];
	struct stat st;
	struct err e;

	if (t->n_streams >= FILES_MAX || snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path ||
	    lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || find_open(t, &st) || stream_open(path, &s, &e) < 0)
		return NULL;
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

	if (!split(path, dir, sizeof dir, &name))
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

	if (!split(old->log_path, dir, sizeof dir, &name) || stat(dir, &st) < 0 ||
	    (st.st_mtim.tv_sec == old->searched.tv_sec && st.st_mtim.tv_nsec == old->searched.tv_nsec))
		return;
	old->searched = st.st_mtim;
	d = opendir(dir);
	while (d && left-- > 0 && (entry = readdir(d))) {
		struct stream *s = rotated_name(name, entry->d_name) ? open_unknown(t, dir, entry->d_name) : NULL;

		if (!s)
			continue;
		if (stream_is_younger(s, old) && !stream_is_copy(s, old)) {
			memcpy(s->log_path, old->log_path, sizeof s->log_path);
			add_stream(t, s);
		} else {
			stream_free(s);
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

void tail_files_look(struct tail_files *t)
{
	const struct config *c = agent_config(t->agent);

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
	struct position *missing = calloc(n ? n : 1, sizeof *missing);

	if (!missing)
		return false;
	free(t->missing);
	if (n)
		memcpy(missing, p, n * sizeof *missing);
	t->missing = missing;
	t->n_missing = n;
	for (struct stream *s = t->streams; s; s = s->next)
		if (!take_up(t, s))
			stream_restart(s);
	return true;
}

void tail_files_free(struct tail_files *t)
{
	while (t->streams)
		tail_files_remove(t, t->streams);
	close_p(&t->inotify_fd);
	free(t->missing);
}

