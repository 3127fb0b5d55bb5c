/*
 * tail_missing.c - streams whose file is not where it was, or holds another text: found, read on in a copy,
 * or given up with a gap.
 *
 * A log that is truncated after it was copied (copytruncate) is found in its copy: that holds the bytes
 * before the position, and goes on with what was not read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "log_name.h"
#include "names.h"
#include "tail_files.h"

enum {
	BUSY_S = 2,        /* a log that was written to so lately may have been while it was copied */
};

/* Open it if it has a rotated name of the log. */
static struct stream *open_rotated(struct tail_files *t, const char *path, const char *log_path)
{
	return tail_copy_named_after(path, log_path) ? tail_search_open(t, path) : NULL;
}

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
		s = tail_search_open(t, path);
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
	int64_t lost = m->whole ? 0 : lost_in_copying(s, m);

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
	CLEANUP(path_list_free) struct path_list files = { 0 };
	struct stream *best = NULL, *s;

	for (s = t->streams; s; s = stream_next(s))
		if (tail_copy_may_be_of(s, m->at.path) && tail_copy_likeness(s, m) == COPY &&
		    (!best || stream_size(best) < stream_size(s)))
			best = s;
	tail_search_list_below(t, m->at.path, &files);
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
	CLEANUP(path_list_free) struct path_list files = { 0 };
	struct stream *s;

	for (s = t->streams; s; s = stream_next(s))
		if (s != best && tail_copy_may_be_of(s, m->at.path) && is_spare(s, best, m))
			tail_copy_pass_over(t, s, true);
	tail_search_list_below(t, m->at.path, &files);
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

	if (m->whole && !m->truncated)
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
	size_t found = tail_search_later(t, m);

	for (struct stream *s = t->streams; s; s = stream_next(s)) {
		if (stream_ended(s) || strcmp(stream_log_path(s), m->at.path) != 0)
			continue;
		stream_search_since(s, m->since_us);
		stream_search_for_a_while(s);
		stream_search_again(s);
	}
	return found;
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
	tail_files_remember(t, &end);   /* should it come back, or a copy of it */
	if (m->whole)
		return true;
	if (holds_another_text(t, m))
		say_truncated(t, m);
	else
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

void tail_missing_search(struct tail_files *t)
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

/* `whole`: nothing was lost. */
static void begin_other_text(struct tail_files *t, struct stream *s, bool whole)
{
	struct remembered_file f = remembered_of(s);

	f.truncated = true;
	f.whole = whole;
	if (whole)
		f.top = stream_offset(s);
	if (stream_is_told(s) && !remembered_add(&t->missing, &f, 0))
		return;                 /* out of memory: at the next turn */
	stream_restart(s);
	stream_search_for_a_while(s);
	stream_search_again(s);
	if (tail_copy_judge(t, s) != NO_COPY)
		tail_files_remove(t,
				  s); /* overwritten by a copy: read when the log is truncated, if at all */
}

void tail_files_truncated(struct tail_files *t, struct stream *s)
{
	stream_refresh_path(s);
	/* A copy was made over it, if it was a rotated file before: nobody writes to these. */
	begin_other_text(t, s, stream_was_whole_here(s) && tail_copy_is_rotated(t, s));
}

bool tail_files_copied_over(struct tail_files *t, struct stream *s)
{
	if (stream_offset(s) != 0 || stream_size(s) == 0 || stream_is_copy(s) || !stream_is_told(s))
		return false;
	stream_refresh_path(s);
	if (!tail_copy_is_rotated(t, s) || tail_copy_judge(t, s) == NO_COPY)
		return false;
	begin_other_text(t, s, true);
	return true;
}
