/*
 * tail_search.c - files that no path leads to, since they came and were rotated away between two looks.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "log_name.h"
#include "names.h"
#include "tail_files.h"

enum {
	SETTLED_S = 2,     /* a folder that changed so lately may change again at the same time stamp */
	LOGS_MAX = 64,     /* of so many logs texts are searched for that came while the agent was stopped */
};

/* A finished stream's file, and nothing came to it since. */
static bool nothing_new(struct tail_files *t, const struct stream *s)
{
	const struct remembered_file *f = remembered_find(&t->finished, s);

	return f && f->at.to == stream_size(s);
}

struct stream *tail_search_open(struct tail_files *t, const char *path)
{
	struct stream *s;
	struct stat st;
	struct err e;

	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || tail_files_find(t, st.st_dev, st.st_ino))
		return NULL;
	s = tail_files_open_new(t, path, &e);
	if (s && nothing_new(t, s)) {
		stream_free(s);
		return NULL;
	}
	return s;
}

/* The files that are not open, the largest first. */
static void list_unknown(const struct tail_files *t, struct names *in, struct path_list *out)
{
	const char *folder, *name;
	char path[FOLDER_SIZE + 256];
	struct stat st;

	while ((name = names_next(in, &folder)))
		if (!log_name_is_packed(name) &&
		    snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path &&
		    lstat(path, &st) == 0 && S_ISREG(st.st_mode) && !tail_files_find(t, st.st_dev, st.st_ino))
			path_list_add(out, path);       /* out of memory: at the next look */
	names_sort(out);
}

/* ---- what came and went ---- */

bool tail_search_goes_on(const struct stream *s)
{
	int64_t now_us = mono_us();
	bool silent = now_us - stream_progress(s)->idle_since_us > STREAM_SEARCH_S * US_PER_S;

	return !stream_ended(s) && stream_life(s) != DROPPED &&
	       (stream_is_copy(s) || now_us < stream_search(s)->until_us ||
		(stream_life(s) != FOLLOWED && (!silent || stream_offset(s) < stream_text_size(s))));
}

/* Nothing is read yet: only names tell what came before it. */
static bool wants_search(const struct stream *s)
{
	return tail_search_goes_on(s) ||
	       (!stream_ended(s) && stream_life(s) != DROPPED && stream_offset(s) == 0);
}

/* A log, of which other files are searched for. */
struct origin {
	const char *path, *log_path;
	int64_t born_us, since_us;
	bool away;                      /* its file is not where the log is written */
	const struct log_file_config *settings;
	struct timespec searched;       /* as in struct search_state */
};

static struct origin origin_of(struct stream *s)
{
	return (struct origin){ .path = stream_path(s),
				.log_path = stream_log_path(s),
				.born_us = stream_born_us(s),
				.since_us = stream_search(s)->since_us,
				.away = stream_is_away(s),
				.settings = stream_reading(s)->settings,
				.searched = stream_search(s)->searched };
}

/* What is searched for several streams at once: those whose logs are in one folder. */
struct search {
	char folder[FOLDER_SIZE];
	struct names in;
	struct timespec latest;         /* change of names in it */
	bool listed;
	struct path_list files;         /* that are not open */
	bool copies; /* what is found was made of a log that was truncated before anything of it was read */
	size_t found;
};

static void search_end(struct search *search)
{
	names_end(&search->in);
	path_list_free(&search->files);
}

static bool is_after(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static void search_begin(struct search *search, const struct origin *old)
{
	char folder[FOLDER_SIZE];
	const char *name;
	struct stat st;
	size_t n;

	if (!log_name_split(old->log_path, folder, sizeof folder, &name))
		return;
	if (strcmp(folder, search->folder) != 0) {
		search_end(search);
		*search = (struct search){ .copies = search->copies, .found = search->found };
		memcpy(search->folder, folder, sizeof folder);
		names_add_folders_below(&search->in, old->log_path);
	}
	n = search->in.n;
	names_add_folder_of(&search->in, old->path);
	if (search->in.n > n)
		search->listed = false;
	for (size_t i = 0; i < search->in.n; i++)
		if ((i >= n || search->latest.tv_sec == 0) && stat(search->in.place[i], &st) == 0 &&
		    is_after(st.st_mtim, search->latest))
			search->latest = st.st_mtim;
}

/* Did names change since it was asked for? */
static bool folder_changed(struct origin *old, const struct search *search)
{
	if (search->latest.tv_sec == old->searched.tv_sec && search->latest.tv_nsec == old->searched.tv_nsec)
		return false;
	if (wall_us() / US_PER_S - search->latest.tv_sec >= SETTLED_S)
		old->searched = search->latest;
	return true;
}

/* Was it made after `old` was known, so that nobody can have judged it before? */
static bool is_later(const struct stream *s, const struct origin *old)
{
	if (old->away && stream_made_us(s) >= old->born_us)
		return true;
	return stream_made_us(s) >= old->since_us;
}

void tail_search_list(const struct tail_files *t, const char *folder, struct path_list *out)
{
	CLEANUP(names_end) struct names in = { 0 };

	names_add_folder(&in, folder);
	list_unknown(t, &in, out);
}

void tail_search_list_below(const struct tail_files *t, const char *log_path, struct path_list *out)
{
	CLEANUP(names_end) struct names in = { 0 };

	names_add_folders_below(&in, log_path);
	list_unknown(t, &in, out);
}

/* Add `s` to the streams, or free it. `later`: it was made since the log is known, so that nobody
 * can have judged it. ADMITTED: it is a new text. */
static enum admission admit(struct tail_files *t, struct stream *s, const char *log_path, bool later,
			    bool copy)
{
	enum admission how = REFUSED;

	if (tail_files_take_up(t, s)) {
		tail_files_add(t, s);
		return REFUSED;         /* as a new one: it is known */
	}
	if (later)
		how = tail_copy_admit(t, s);
	if (how != ADMITTED) {
		stream_free(s);
		return how;
	}
	stream_set_log_path(s, log_path);
	if (copy)
		stream_set_copy(s);
	tail_files_add(t, s);
	return how;
}

bool tail_search_admit(struct tail_files *t, const char *path, const char *log_path, int64_t since_us)
{
	struct stream *s = tail_search_open(t, path);

	return !s || admit(t, s, log_path, stream_made_us(s) >= since_us, false) != WAITS;
}

/* The log's file is where it was before this one was born: so this one is a copy. */
static bool was_never_the_log(const struct stream *s, const struct origin *log)
{
	return !log->away && log->born_us && stream_born_us(s) > log->born_us;
}

static void judge_successor(struct tail_files *t, struct stream *s, struct origin *old, struct search *search)
{
	switch (admit(t, s, old->log_path, is_later(s, old), search->copies || was_never_the_log(s, old))) {
	case ADMITTED:
		stream_reading(s)->settings = old->settings;
		search->found++;
		break;
	case WAITS:
		old->searched = (struct timespec){ 0 };
		t->judge_again = true;
		break;
	case REFUSED:
		break;
	}
}

/*
 * A log that was rotated twice between two looks, or while the agent did not
 * run, left a file that no path led to when somebody looked. It is in the same
 * folder or where `old` was moved to, has a name made of the log's, is later than
 * what was known, and is no copy of it.
 */
static void search_successors(struct tail_files *t, struct origin *old, struct search *search)
{
	search_begin(search, old);
	if (!folder_changed(old, search))
		return;
	if (!search->listed) {
		path_list_free(&search->files);
		search->in.at = 0;
		list_unknown(t, &search->in, &search->files);
		search->listed = true;
	}
	for (size_t i = 0; i < search->files.n; i++) {
		const char *path = search->files.path[i];
		struct stream *s =
			tail_copy_named_after(path, old->log_path) || tail_copy_named_after(path, old->path)
				? tail_search_open(t, path)
				: NULL;

		if (s)
			judge_successor(t, s, old, search);
	}
}

void tail_search_successors(struct tail_files *t)
{
	CLEANUP(search_end) struct search search = { 0 };

	for (struct stream *s = t->streams; s; s = stream_next(s))
		if (wants_search(s)) {
			struct origin old = origin_of(s);

			search_successors(t, &old, &search);
			stream_set_searched(s, old.searched);
		}
}

size_t tail_search_later(struct tail_files *t, const struct remembered_file *m)
{
	CLEANUP(search_end) struct search search = { .copies = m->truncated && m->at.to == 0 };
	struct origin lost = { .path = m->at.path, .log_path = m->at.path, .since_us = m->since_us };

	search_successors(t, &lost, &search);
	return search.found;
}

/* Is a text of this log known that is not read to its end? Then that one leads to later ones. */
static bool is_read_on(const struct tail_files *t, const char *log_path)
{
	for (size_t i = 0; i < t->missing.n; i++)
		if (strcmp(t->missing.files[i].at.path, log_path) == 0)
			return true;
	for (const struct stream *s = t->streams; s; s = stream_next(s))
		if (stream_offset(s) > 0 && strcmp(stream_log_path(s), log_path) == 0)
			return true;
	return false;
}

/* The newest come last. */
static bool is_newest(const struct remembered *finished, size_t i)
{
	for (size_t k = i + 1; k < finished->n; k++)
		if (strcmp(finished->files[k].at.path, finished->files[i].at.path) == 0)
			return false;
	return true;
}

void tail_search_since_stop(struct tail_files *t)
{
	CLEANUP(search_end) struct search search = { 0 };
	unsigned logs = 0;

	for (size_t i = t->finished.n; i-- > 0 && logs < LOGS_MAX;) {
		const struct remembered_file *f = &t->finished.files[i];
		struct origin gone = { .path = f->at.path, .log_path = f->at.path, .since_us = f->since_us };
		const char *name = strrchr(f->at.path, '/');

		if (!name || !log_name_is_root(name + 1) || is_read_on(t, f->at.path) ||
		    !is_newest(&t->finished, i))
			continue;
		logs++;
		search_successors(t, &gone, &search);
		for (struct stream *s = t->streams; s; s = stream_next(s))
			if (strcmp(stream_log_path(s), f->at.path) == 0)
				stream_search_since(s, f->since_us);
	}
}
