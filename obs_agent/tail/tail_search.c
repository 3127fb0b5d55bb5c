/*
 * tail_search.c - files that no path leads to: renamed, copied, gone.
 *
 * A log that is truncated after it was copied (copytruncate) is found in its copy:
 * that holds the bytes before the position, and goes on with what was not read.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "log_name.h"
#include "tail_files.h"

enum {
	NAMES_MAX = 65536,              /* names looked at in a folder, in search of a file */
	SETTLED_S = 2,                  /* a folder that changed so lately may change again at the same time stamp */
	BUSY_S = 2,                     /* a log that was written to so lately may have been while it was copied */
	FOLDER_SIZE = 256,
};

/* One folder, looked through. */
struct folder {
	DIR *d;
	char path[FOLDER_SIZE];
	int left;
};

static void folder_close(struct folder *f)
{
	closedir_p(&f->d);
}

static bool folder_open(struct folder *f, const char *path_in_it, const char **ret_name)
{
	if (!log_name_split(path_in_it, f->path, sizeof f->path, ret_name))
		return false;
	f->d = opendir(f->path);
	f->left = NAMES_MAX;
	return f->d;
}

static const char *folder_next(struct folder *f)
{
	struct dirent *entry = f->left-- > 0 ? readdir(f->d) : NULL;

	return entry ? entry->d_name : NULL;
}

/* A finished stream's file, and nothing came to it since. */
static bool nothing_new(struct tail_files *t, const struct stream *s)
{
	const struct known_file *f = known_find(&t->over, s);

	return f && f->at.to == s->size;
}

/* Open a name of a folder unless it is open already; NULL: nothing for us. */
static struct stream *open_unknown(struct tail_files *t, const struct folder *f, const char *name)
{
	struct stream *s;
	char path[FOLDER_SIZE + 256];
	struct stat st;
	struct err e;

	if (snprintf(path, sizeof path, "%s/%s", f->path, name) >= (int)sizeof path || lstat(path, &st) < 0 ||
	    !S_ISREG(st.st_mode) || tail_files_find(t, st.st_dev, st.st_ino))
		return NULL;
	s = tail_files_open_new(t, path, &e);
	if (s && nothing_new(t, s)) {
		stream_free(s);
		return NULL;
	}
	return s;
}

/* ---- what is missing ---- */

/* Is the path in the log's folder, with a name made of the log's? */
static bool named_after(const char *path, const char *log_path)
{
	const char *name = strrchr(path, '/'), *log = strrchr(log_path, '/');

	return name && log && name - path == log - log_path && strcmp(name, log) != 0 &&
	       log_name_is_rotated(log, name) && memcmp(path, log_path, (size_t)(name - path)) == 0;
}

/* The files themselves, under whatever name. False: there are too few descriptors, so
 * that some may have been left. */
static bool find_by_identity(struct tail_files *t, const char *path)
{
	CLEANUP(folder_close) struct folder f = { 0 };
	const char *name;

	if (!folder_open(&f, path, &name))
		return true;
	while (t->missing.n && (name = folder_next(&f))) {
		struct stream *s;

		if (!tail_files_room(t))
			return false;
		s = open_unknown(t, &f, name);
		if (s && tail_files_take_up(t, s))
			tail_files_add(t, s);
		else
			stream_free(s);
	}
	return true;
}

/* It holds what was read already, or can't be told from that: never to be read. Its
 * end is committed, so that it is known after a restart too. */
static bool pass_over(struct tail_files *t, struct stream *s)
{
	struct position end;

	int64_t position = s->position;

	stream_jump(s, s->size);
	s->finished = true;
	stream_position(s, &end);
	end.from = 0;
	if (!agent_set_position(t->agent, &end)) {
		stream_jump(s, position);
		s->finished = false;
		return false;
	}
	tail_files_remember(t, &end);
	return true;
}

/* The longest copy of the file that is missing; a copy that ends before the position
 * is done with. */
static struct stream *find_copy(struct tail_files *t, const struct known_file *m)
{
	CLEANUP(folder_close) struct folder f = { 0 };
	struct stream *best = NULL;
	const char *log, *name;

	if (!folder_open(&f, m->at.path, &log))
		return NULL;
	while ((name = folder_next(&f))) {
		struct stream *s = strcmp(name, log) != 0 && log_name_is_rotated(log, name) ? open_unknown(t, &f, name) : NULL;
		enum likeness like = s ? stream_likeness(s, &m->at) : UNLIKE;

		if (like == COPY && (!best || best->size < s->size)) {
			struct stream *worse = best;

			best = s;
			s = worse;
		} else if (like == COPY_TOO_SHORT) {
			pass_over(t, s);
		}
		stream_free(s);
	}
	return best;
}

/* What the copy lacks: bytes that were seen, else what may have come after it was made. */
static int64_t lost_in_copying(const struct stream *copy, const struct known_file *m)
{
	if (m->top > copy->size)
		return m->top - copy->size;
	return m->filled_us == 0 || m->filled_us / US_PER_S >= copy->written.tv_sec - BUSY_S ? -1 : 0;
}

static void take_copy(struct tail_files *t, struct known_file *m, struct stream *s)
{
	stream_resume(s, &m->at);
	s->copy = true;
	s->lost = lost_in_copying(s, m);
	s->lost_why = s->lost > 0 ? "came after the log was copied and before it was truncated"
				  : "what came after the log was copied and before it was truncated is not known";
	known_remove(&t->missing, m);
}

/* A pattern may have led to the copy before it was known what it is a copy of. */
static struct stream *find_open_copy(struct tail_files *t, const struct known_file *m)
{
	struct stream *best = NULL;

	for (struct stream *s = t->streams; s; s = s->next) {
		enum likeness like = s->position == 0 && !s->finished && s->fd >= 0 && named_after(s->path, m->at.path)
					     ? stream_likeness(s, &m->at) : UNLIKE;

		if (like == COPY && (!best || best->size < s->size))
			best = s;
		else if (like == COPY_TOO_SHORT)
			pass_over(t, s);
	}
	return best;
}

/* False: there is no copy. */
static bool go_on_in_copy(struct tail_files *t, struct known_file *m)
{
	struct stream *s = m->whole ? NULL : find_open_copy(t, m);

	if (!s && !m->whole) {
		s = find_copy(t, m);
		if (s)
			tail_files_add(t, s);
	}
	if (s)
		take_copy(t, m, s);
	return s;
}

/* A packed file whose name is made of the log's: the text may be in there. */
static bool find_packed(const char *path, char *out, size_t size)
{
	CLEANUP(folder_close) struct folder f = { 0 };
	const char *log, *name;

	if (!folder_open(&f, path, &log))
		return false;
	while ((name = folder_next(&f)))
		if (log_name_is_packed(name) && log_name_is_of(log, name)) {
			snprintf(out, size, "%s/%s", f.path, name);
			return true;
		}
	return false;
}

static void say_truncated(struct tail_files *t, const struct stream *gone, const struct known_file *m)
{
	int64_t unread = m->top - m->at.to;
	char detail[128];

	snprintf(detail, sizeof detail, "the file was truncated; %" PRId64 " bytes were known and not read",
		 unread > 0 ? unread : 0);
	reader_gap(t->reader, gone, "truncated", -1, unread > 0 ? unread : -1, detail);
}

static void say_gone(struct tail_files *t, const struct stream *gone, const struct known_file *m)
{
	char detail[900], packed[FOLDER_SIZE + 256] = "";
	const char *when = m->top < 0 ? " while the agent did not run" : " while it was not open";
	int n = snprintf(detail, sizeof detail, "%s was removed%s; what came after byte %" PRId64 " was not read",
			 m->at.path, when, m->at.to);

	if (find_packed(m->at.path, packed, sizeof packed))
		snprintf(detail + n, sizeof detail - (size_t)n, "; it may be in %s: packed files are not read", packed);
	reader_gap(t->reader, gone, "file_gone", -1, m->top > m->at.to ? m->top - m->at.to : -1, detail);
	logcore_warning(agent_log(t->agent), "log file is gone", logcore_kv("path", m->at.path),
			logcore_kv("position", m->at.to));
}

/* Is a file open that is the same and holds another text? */
static bool holds_another_text(const struct tail_files *t, const struct known_file *m)
{
	uint64_t key = stream_key(m->at.file_id);

	if (m->truncated)
		return true;
	for (const struct stream *s = t->streams; s; s = s->next)
		if (s->key == key)
			return true;
	return false;
}

/* Does the database hold the stream that goes on where this one was torn? */
static bool goes_on(const struct tail_files *t, const struct known_file *m)
{
	uint64_t key = stream_key(m->at.file_id);

	for (const struct stream *s = t->streams; s; s = s->next)
		if (s->key == key && s->committed == 0)
			return false;
	return true;
}

/* The text is nowhere: end its stream, and say that its rest may be lost. */
static bool give_up(struct tail_files *t, const struct known_file *m)
{
	struct stream gone = { .fd = -1, .id = m->at.stream_id };
	struct position end = m->at;

	end.from = end.to;
	end.finished = true;
	if (m->torn && !goes_on(t, m))
		return false;
	if (!agent_set_position(t->agent, &end))
		return false;
	if (m->torn)
		return true;
	if (holds_another_text(t, m)) {
		say_truncated(t, &gone, m);
		return true;
	}
	tail_files_remember(t, &end);   /* should it come back */
	if (!m->whole)
		say_gone(t, &gone, m);
	return true;
}

void tail_search_missing(struct tail_files *t)
{
	char searched[FOLDER_SIZE] = "", dir[FOLDER_SIZE];
	const char *name;

	for (size_t i = t->missing.n; i > 0; i--)
		if (i <= t->missing.n && log_name_split(t->missing.files[i - 1].at.path, dir, sizeof dir, &name) &&
		    strcmp(dir, searched) != 0) {
			memcpy(searched, dir, sizeof dir);
			if (!find_by_identity(t, t->missing.files[i - 1].at.path))
				return;
		}
	for (size_t i = t->missing.n; i > 0; i--) {
		struct known_file *m = &t->missing.files[i - 1];

		if (go_on_in_copy(t, m))
			continue;
		if (give_up(t, m))
			known_remove(&t->missing, m);
		else if (!m->torn)
			return;         /* the batch is full: at the next look */
	}
}

void tail_files_truncated(struct tail_files *t, struct stream *s)
{
	struct known_file f = { .top = s->top, .filled_us = s->filled_us, .truncated = true };

	stream_position(s, &f.at);
	if (s->position > 0 && !known_add(&t->missing, &f, 0))
		return;                 /* out of memory: at the next turn */
	stream_restart(s);
}

/* ---- what came and went ---- */

/* It begins as `old` does, and need not be a copy: so it is counted, once. */
static void pass_over_copy(struct tail_files *t, struct stream *s, const struct stream *old)
{
	char detail[600];

	snprintf(detail, sizeof detail, "%s begins as %s does: taken for a copy and not read", s->path, old->path);
	if (pass_over(t, s))
		reader_gap(t->reader, s, "copy_passed_over", -1, s->size, detail);
}

/* Does the log still hold what was read of it? Its size now. */
static bool is_whole(const struct stream *log, int64_t *ret_size)
{
	struct position p;
	struct stat st;

	stream_position((struct stream *)log, &p);
	if (log->fd < 0 || log->position == 0 || fstat(log->fd, &st) < 0)
		return false;
	*ret_size = st.st_size;
	return st.st_size >= log->position && stream_likeness(log, &p) == COPY;
}

/* As empty as any copy is at first, or the same as far as it goes. Where the log was truncated
 * meanwhile, the same beginning must do. */
static bool copies(const struct stream *s, const struct stream *log)
{
	int64_t size;

	if (!stream_is_younger(s, log))
		return false;
	if (s->size == 0)
		return true;
	if (is_whole(log, &size))
		return s->size <= size && stream_same_text(s, log);
	return stream_is_copy(s, log) || (log->fd >= 0 && stream_same_text(s, log));
}

/* Nobody has read it yet, in this run or another: there is nothing to be a copy of. */
static bool unread(const struct tail_files *t, const struct stream *l)
{
	return t->look == 1 && l->position == 0;
}

bool tail_search_is_copy(const struct tail_files *t, const struct stream *s, const struct stream *rotated)
{
	for (size_t i = 0; i < t->missing.n; i++)
		if (named_after(s->path, t->missing.files[i].at.path) &&
		    stream_likeness(s, &t->missing.files[i].at) != UNLIKE)
			return true;
	for (const struct stream *l = t->streams; l; l = l->next)
		if (l->dev == s->dev && !l->finished && (!rotated || l->current) && !unread(t, l) &&
		    (named_after(s->path, l->path) || named_after(s->path, l->log_path)) &&
		    copies(s, l))
			return true;
	return false;
}

static bool folder_changed(struct stream *old)
{
	char dir[FOLDER_SIZE];
	const char *name;
	struct stat st;

	if (!log_name_split(old->log_path, dir, sizeof dir, &name) || stat(dir, &st) < 0 ||
	    (st.st_mtim.tv_sec == old->searched.tv_sec && st.st_mtim.tv_nsec == old->searched.tv_nsec))
		return false;
	if (wall_us() / US_PER_S - st.st_mtim.tv_sec >= SETTLED_S)
		old->searched = st.st_mtim;
	return true;
}

static void judge_successor(struct tail_files *t, struct stream *s, const struct stream *old)
{
	if (tail_files_take_up(t, s)) {
		tail_files_add(t, s);
		return;
	}
	if (stream_is_younger(s, old) && !tail_search_is_copy(t, s, old)) {
		if (!stream_same_text(s, old)) {
			memcpy(s->log_path, old->log_path, sizeof s->log_path);
			tail_files_add(t, s);
			return;
		}
		if (t->all_known)       /* else it is judged when it is known what is over */
			pass_over_copy(t, s, old);
	}
	stream_free(s);
}

/*
 * A log that was rotated twice between two looks, or while the agent did not
 * run, left a file that no path led to when somebody looked. It is in the same
 * folder, has a name made of the log's, is younger than the file that was known,
 * and is no copy of it.
 */
void tail_search_successors(struct tail_files *t, struct stream *old)
{
	CLEANUP(folder_close) struct folder f = { 0 };
	const char *log, *name;

	if (!folder_changed(old) || !folder_open(&f, old->log_path, &log))
		return;
	while ((name = folder_next(&f))) {
		struct stream *s = log_name_is_rotated(log, name) ? open_unknown(t, &f, name) : NULL;

		if (s)
			judge_successor(t, s, old);
	}
}
