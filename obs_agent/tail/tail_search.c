/*
 * tail_search.c - files that no path leads to: renamed, copied, gone.
 *
 * A log that is truncated after it was copied (copytruncate) is found in its copy:
 * that holds the bytes before the position, and goes on with what was not read.
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
	BUSY_S = 2,        /* a log that was written to so lately may have been while it was copied */
};

/* A finished stream's file, and nothing came to it since. */
static bool nothing_new(struct tail_files *t, const struct stream *s)
{
	const struct remembered_file *f = remembered_find(&t->finished, s);

	return f && f->at.to == stream_size(s);
}

/* Open a file unless it is open already; NULL: nothing for us. */
static struct stream *open_unknown(struct tail_files *t, const char *path)
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

/* Open it if it has a rotated name of the log. */
static struct stream *open_rotated(struct tail_files *t, const char *path, const char *log_path)
{
	return tail_copy_named_after(path, log_path) ? open_unknown(t, path) : NULL;
}

/* ---- what came and went ---- */

static bool wants_search(const struct stream *s)
{
	int64_t now_us = mono_us();
	bool silent = now_us - stream_progress(s)->idle_since_us > STREAM_SEARCH_S * US_PER_S;

	return !stream_ended(s) && stream_life(s) != DROPPED &&
	       (stream_offset(s) == 0 || stream_is_copy(s) || now_us < stream_search(s)->until_us ||
		(stream_life(s) != FOLLOWED && (!silent || stream_offset(s) < stream_text_size(s))));
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
	struct stream *s = open_unknown(t, path);

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
				? open_unknown(t, path)
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

/* ---- what is missing ---- */

/* The files themselves, under whatever name. False: there are too few descriptors, so
 * that some may have been left. */
static bool find_by_identity(struct tail_files *t, const char *log_path)
{
	CLEANUP(names_end) struct names in = { 0 };
	const char *name, *folder;
	char path[FOLDER_SIZE + 256];

	names_add_folders_below(&in, log_path);
	while (t->missing.n && (name = names_next(&in, &folder))) {
		struct stream *s;

		if (!tail_files_may_open(t))
			return false;
		if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
			continue;
		s = open_unknown(t, path);
		if (s && tail_files_take_up(t, s))
			tail_files_add(t, s);
		else
			stream_free(s);
	}
	return true;
}

/* What the copy lacks: bytes that were seen, else what may have come after it was made. */
static int64_t lost_in_copying(const struct stream *copy, const struct remembered_file *m)
{
	bool busy;

	if (m->top > stream_size(copy))
		return m->top - stream_size(copy);
	busy = m->filled_us == 0 || m->filled_us / US_PER_S >= stream_extent(copy)->written.tv_sec - BUSY_S;
	return busy ? -1 : 0;
}

static void take_copy(const struct remembered_file *m, struct stream *s)
{
	int64_t lost = lost_in_copying(s, m);

	stream_resume(s, &m->at);
	stream_set_copy(s);
	stream_search_since(s, m->since_us);
	stream_set_loss(s, lost, lost > 0 ? "came after the log was copied and before it was truncated"
					  : "what came after the log was copied and before it was truncated "
					    "is not known");
}

/* The longest copy of the file that is missing. It is among the streams then; a pattern may have
 * led to it before it was known what it is a copy of. */
static struct stream *find_copy(struct tail_files *t, const struct remembered_file *m)
{
	CLEANUP(names_end) struct names in = { 0 };
	CLEANUP(path_list_free) struct path_list files = { 0 };
	struct stream *best = NULL, *s;

	for (s = t->streams; s; s = stream_next(s))
		if (tail_copy_may_be_of(s, m->at.path) && tail_copy_likeness(s, m) == COPY &&
		    (!best || stream_size(best) < stream_size(s)))
			best = s;
	names_add_folders_below(&in, m->at.path);
	list_unknown(t, &in, &files);
	for (size_t i = 0; i < files.n; i++) {
		s = open_rotated(t, files.path[i], m->at.path);
		if (s && tail_copy_likeness(s, m) == COPY && (!best || stream_size(best) < stream_size(s))) {
			tail_files_add(t, s);
			return s;               /* the largest of all */
		}
		stream_free(s);
	}
	return best;
}

/* Another copy of that text, which holds nothing that the best one lacks. */
static bool is_spare(const struct stream *s, const struct stream *best, const struct remembered_file *m)
{
	enum likeness like = tail_copy_likeness(s, m);

	if (like == COPY_TOO_SHORT)
		return !best || stream_same_text(s, best);
	return like == COPY && best && stream_size(s) <= stream_size(best) && stream_same_text(s, best);
}

/* Copies that are done with. */
static void pass_over_spares(struct tail_files *t, const struct stream *best, const struct remembered_file *m)
{
	CLEANUP(names_end) struct names in = { 0 };
	CLEANUP(path_list_free) struct path_list files = { 0 };
	struct stream *s;

	for (s = t->streams; s; s = stream_next(s))
		if (s != best && tail_copy_may_be_of(s, m->at.path) && is_spare(s, best, m))
			tail_copy_pass_over(t, s, true);
	names_add_folders_below(&in, m->at.path);
	list_unknown(t, &in, &files);
	for (size_t i = 0; i < files.n; i++) {
		s = open_rotated(t, files.path[i], m->at.path);
		if (s && is_spare(s, best, m))
			tail_copy_pass_over(t, s, true);
		stream_free(s);
	}
}

/* False: there is no copy. */
static bool go_on_in_copy(struct tail_files *t, const struct remembered_file *m)
{
	struct stream *best;

	if (m->whole)
		return false;
	best = find_copy(t, m);
	pass_over_spares(t, best, m);
	if (best)
		take_copy(m, best);
	return best;
}

/* A packed file whose name is made of the log's: the text may be in there. */
static bool find_packed(const char *path, char *out, size_t size)
{
	CLEANUP(names_end) struct names in = { 0 };
	const char *log = strrchr(path, '/'), *folder, *name;

	names_add_folders_below(&in, path);
	while (log && (name = names_next(&in, &folder)))
		if (log_name_is_packed(name) && log_name_is_of(log + 1, name)) {
			snprintf(out, size, "%s/%s", folder, name);
			return true;
		}
	return false;
}

static void say_truncated(struct tail_files *t, const struct remembered_file *m)
{
	int64_t unread = m->top - m->at.to;
	char detail[128];

	snprintf(detail, sizeof detail, "the file was truncated; %" PRId64 " bytes were known and not read",
		 unread > 0 ? unread : 0);
	reader_gap(t->reader, m->at.stream_id, "truncated", -1, unread > 0 ? unread : -1, detail);
}

static void say_gone(struct tail_files *t, const struct remembered_file *m)
{
	char detail[900], packed[FOLDER_SIZE + 256] = "";
	const char *when = m->top < 0 ? " while the agent did not run" : " while it was not open";
	int n = snprintf(detail, sizeof detail,
			 "%s was removed%s; what came after byte %" PRId64 " was not read", m->at.path, when,
			 m->at.to);

	if (find_packed(m->at.path, packed, sizeof packed))
		snprintf(detail + n, sizeof detail - (size_t)n,
			 "; it may be in %s: packed files are not read", packed);
	reader_gap(t->reader, m->at.stream_id, "file_gone", -1,
		   m->top > m->at.to ? m->top - m->at.to : -1, detail);
	logcore_warning(agent_log(t->agent), "log file is gone", logcore_kv("path", m->at.path),
			logcore_kv("position", m->at.to));
}

/* Is a file open that is the same and holds another text? */
static bool holds_another_text(const struct tail_files *t, const struct remembered_file *m)
{
	uint64_t key = identity_key(m->at.file_id);

	if (m->truncated)
		return true;
	for (const struct stream *s = t->streams; s; s = stream_next(s))
		if (stream_file(s)->key == key)
			return true;
	return false;
}

/* Does the database hold the stream that goes on where this one was torn? */
static bool goes_on(const struct tail_files *t, const struct remembered_file *m)
{
	uint64_t key = identity_key(m->at.file_id);

	for (const struct stream *s = t->streams; s; s = stream_next(s))
		if (stream_file(s)->key == key && stream_progress(s)->committed == 0)
			return false;
	return true;
}

/* Other texts of this log may have come and gone with it, or this one stands in a copy of which
 * nothing was read. How many were found. */
static size_t search_for_later(struct tail_files *t, const struct remembered_file *m)
{
	CLEANUP(search_end) struct search search = { .copies = m->truncated && m->at.to == 0 };
	struct origin lost = { .path = m->at.path, .log_path = m->at.path, .since_us = m->since_us };

	search_successors(t, &lost, &search);
	for (struct stream *s = t->streams; s; s = stream_next(s)) {
		if (stream_ended(s) || strcmp(stream_log_path(s), m->at.path) != 0)
			continue;
		stream_search_since(s, m->since_us);
		stream_search_for_a_while(s);
		stream_search_again(s);
	}
	return search.found;
}

/* The text is nowhere: end its stream, and say that its rest may be lost. */
static bool give_up(struct tail_files *t, const struct remembered_file *m)
{
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
		if (!m->whole)
			say_truncated(t, m);
		return true;
	}
	tail_files_remember(t, &end);   /* should it come back */
	if (!m->whole)
		say_gone(t, m);
	return true;
}

/* It is not missing any more. */
static void found_or_ended(struct tail_files *t, const struct remembered_file *m)
{
	for (size_t i = t->missing.n; i > 0; i--)
		if (t->missing.files[i - 1].at.stream_id == m->at.stream_id)
			remembered_remove(&t->missing, &t->missing.files[i - 1]);
	search_for_later(t, m);
}

/* Go on in a copy of it, or end it. False: the batch is full; at the next look. */
static bool settle(struct tail_files *t, struct remembered_file m)
{
	if (m.truncated && m.at.to == 0)
		m.whole |= search_for_later(t, &m) > 0;
	if (!go_on_in_copy(t, &m) && !give_up(t, &m))
		return m.torn;
	found_or_ended(t, &m);
	return true;
}

void tail_search_missing(struct tail_files *t)
{
	char searched[FOLDER_SIZE] = "", dir[FOLDER_SIZE];
	const char *name;

	for (size_t i = t->missing.n; i > 0; i--)
		if (i <= t->missing.n &&
		    log_name_split(t->missing.files[i - 1].at.path, dir, sizeof dir, &name) &&
		    strcmp(dir, searched) != 0) {
			memcpy(searched, dir, sizeof dir);
			if (!find_by_identity(t, t->missing.files[i - 1].at.path))
				return;
		}
	for (size_t i = t->missing.n; i > 0; i--)
		if (i <= t->missing.n && !settle(t, t->missing.files[i - 1]))
			return;
}

void tail_files_truncated(struct tail_files *t, struct stream *s)
{
	struct remembered_file f = remembered_of(s);

	f.truncated = true;
	f.whole = stream_offset(s) >= f.top && tail_copy_is_rotated(t, s);
	if (stream_is_told(s) && !remembered_add(&t->missing, &f, 0))
		return;                 /* out of memory: at the next turn */
	stream_restart(s);
	stream_search_for_a_while(s);
	stream_search_again(s);
	if (tail_copy_judge(t, s) != NO_COPY)
		tail_files_remove(t,
				  s); /* overwritten by a copy: read when the log is truncated, if at all */
}
