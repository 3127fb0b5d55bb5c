/*
 * tail_copy.c - is a file a copy of a text that is known already?
 *
 * A copy is not read, or only from where reading of its original stopped. While the original is
 * there the bytes of both are compared; once it is truncated or gone, its fingerprints decide.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "log_name.h"
#include "tail_files.h"

/* `path` without its last part. */
static size_t folder_length(const char *path, size_t len)
{
	while (len > 0 && path[--len] != '/')
		;
	return len;
}

/* Is `other` in that folder, and nothing but a name there? The name. */
static const char *name_in(const char *other, const char *folder, size_t len)
{
	return strncmp(other, folder, len) == 0 && other[len] == '/' && !strchr(other + len + 1, '/')
		       ? other + len + 1
		       : NULL;
}

/* The name of a log in the folder of `path`, or in the one above as with logrotate's olddir; NULL:
 * it is elsewhere. */
static const char *name_beside(const char *log_path, const char *path, size_t folder)
{
	const char *log = name_in(log_path, path, folder);

	return log ? log : name_in(log_path, path, folder_length(path, folder));
}

bool tail_copy_named_after(const char *path, const char *log_path)
{
	size_t folder = folder_length(path, strlen(path));
	const char *log = name_beside(log_path, path, folder);

	return log && strcmp(path + folder + 1, log) != 0 && log_name_is_rotated(log, path + folder + 1);
}

/* A path, and what its name says: it is compared with many others. */
struct named {
	const char *path, *name;
	size_t folder;                  /* length of the folder's path */
	bool is_root;                   /* the name has no suffix that rotation made */
};

static struct named name_of(const char *path)
{
	size_t folder = folder_length(path, strlen(path));

	return (struct named){ path, path + folder + 1, folder, log_name_is_root(path + folder + 1) };
}

/* Both are parts of one log, and `of` is not its own. */
static bool is_related(const struct named *of, const char *other)
{
	const char *log = name_beside(other, of->path, of->folder);

	return log && strcmp(of->path, other) != 0 &&
	       (log_name_is_rotated(log, of->name) || (!of->is_root && log_name_same_root(of->name, log)));
}

/* Is it a part of the log that `l` was when it was followed, or is now? */
static bool is_related_to(const struct named *of, const struct stream *l)
{
	return is_related(of, stream_path(l)) ||
	       (strcmp(stream_path(l), stream_log_path(l)) != 0 && is_related(of, stream_log_path(l)));
}

bool tail_copy_may_be_of(const struct stream *s, const char *log_path)
{
	struct named name;

	if (stream_offset(s) != 0 || stream_ended(s) || stream_fd(s) < 0)
		return false;
	name = name_of(stream_path(s));
	return is_related(&name, log_path);
}

enum likeness tail_copy_likeness(const struct stream *s, const struct remembered_file *f)
{
	enum likeness like = stream_likeness(s, &f->at);
	/* Made after that text was read so far, a copy would hold as much: a few bytes are the same
	 * by chance. */
	if (like == COPY_TOO_SHORT && stream_size(s) < HEAD_MAX && stream_born_us(s) > f->read_us)
		return UNLIKE;
	return like;
}

/* Does the log still hold what was read of it? Its size now. */
static bool is_whole(const struct stream *log, int64_t *ret_size)
{
	struct stat st;

	if (stream_fd(log) < 0 || fstat(stream_fd(log), &st) < 0)
		return false;
	*ret_size = st.st_size;
	return st.st_size >= stream_offset(log) && stream_holds(log);
}

/* Its name has no suffix that rotation made. */
static bool is_log_by_name(const char *path)
{
	return log_name_is_root(path + folder_length(path, strlen(path)) + 1);
}

/* A text that somebody may write to, or cut off. */
static bool may_change(const struct tail_files *t, const struct stream *l)
{
	return tail_files_led_to(t, l) && !stream_is_copy(l) && is_log_by_name(stream_path(l));
}

/* Where the log was truncated meanwhile, what was read of it must do. */
static enum copy of_changed(const struct stream *s, const struct stream *l)
{
	struct position p;

	stream_position(l, &p);
	return stream_likeness(s, &p) != UNLIKE ? COPY_OF_LOG : NO_COPY;
}

/* Does a text of some length begin with one line over and over? Such files look alike without being
 * copies. */
static bool says_one_thing(const struct stream *s)
{
	char head[HEAD_MAX];
	ssize_t n = pread(stream_fd(s), head, sizeof head, 0);
	const char *newline = n > 0 ? memchr(head, '\n', (size_t)n) : NULL;
	size_t line = newline ? (size_t)(newline + 1 - head) : 0;

	return n == HEAD_MAX && line > 0 && line < (size_t)n &&
	       memcmp(head, head + line, (size_t)n - line) == 0;
}

/* An empty file is as empty as any copy is at first; else one text is the beginning of the other. */
static enum copy copy_of(const struct tail_files *t, const struct stream *s, const struct stream *l)
{
	int64_t size;

	if (is_log_by_name(stream_path(l)) && stream_made_us(s) < stream_born_us(l))
		return NO_COPY; /* older than the log; a rotated file may hold a text older than itself */
	if (stream_size(s) == 0)
		return COPY_OF_LOG;
	if (!is_whole(l, &size))
		return of_changed(s, l);
	if (!stream_same_text(s, l))
		return NO_COPY;
	if (stream_size(s) <= size)
		return may_change(t, l) && !says_one_thing(s) ? COPY_OF_LOG : COPY_OF_READ;
	if (is_log_by_name(stream_path(l)))
		return NO_COPY;
	return stream_offset(l) == size ? COPY_AND_MORE : COPY_OF_LOG;
}

/* *ret_from: the most that was read of it. A short text with more behind it may be a banner of each file. */
static enum copy of_read_text(const struct tail_files *t, const struct stream *s, const struct named *name,
			      int64_t *ret_from)
{
	enum copy found = NO_COPY;

	*ret_from = 0;
	for (size_t i = 0; i < t->finished.n; i++) {
		const struct remembered_file *f = &t->finished.files[i];
		bool has_more = stream_size(s) > f->at.to;

		if (!t->finished.keys[i] || (has_more && f->at.to < HEAD_MAX) ||
		    !is_related(name, f->at.path) || tail_copy_likeness(s, f) == UNLIKE)
			continue;
		if (!has_more)
			return COPY_OF_READ;
		found = COPY_AND_MORE;
		if (*ret_from < f->at.to)
			*ret_from = f->at.to;
	}
	return found;
}

static bool is_shorter(const struct stream *of, const struct stream *l)
{
	return of && stream_size(of) < stream_size(l);
}

/* *ret_from: where reading goes on, if it is COPY_AND_MORE. */
static enum copy judge(const struct tail_files *t, const struct stream *s, int64_t *ret_from)
{
	struct named name = name_of(stream_path(s));
	const struct stream *of = NULL;
	enum copy found = NO_COPY;

	for (size_t i = 0; i < t->missing.n; i++)
		if (is_related(&name, t->missing.files[i].at.path) &&
		    tail_copy_likeness(s, &t->missing.files[i]) != UNLIKE)
			return COPY_OF_LOG;
	for (const struct stream *l = t->streams; l; l = stream_next(l)) {
		enum copy copy = NO_COPY;

		if (stream_fd(l) >= 0 && l != s && stream_file(l)->dev == stream_file(s)->dev &&
		    is_related_to(&name, l))
			copy = copy_of(t, s, l);
		if (copy == COPY_OF_LOG)
			return copy;
		if (copy == COPY_OF_READ ||
		    (copy == COPY_AND_MORE && (found == NO_COPY || is_shorter(of, l)))) {
			found = copy;
			of = copy == COPY_AND_MORE ? l : NULL;
		}
	}
	if (of)
		*ret_from = stream_offset(of);
	return found != NO_COPY || stream_size(s) == 0 ? found : of_read_text(t, s, &name, ret_from);
}

enum copy tail_copy_judge(const struct tail_files *t, const struct stream *s)
{
	int64_t from;

	return judge(t, s, &from);
}

enum admission tail_copy_admit(struct tail_files *t, struct stream *s)
{
	int64_t from = 0;
	bool sure;

	switch (judge(t, s, &from)) {
	case COPY_OF_LOG:
		return WAITS;           /* read when the log is truncated, if at all */
	case COPY_OF_READ:
		/* judged again when it is known what is over */
		sure = stream_size(s) >= HEAD_MAX && !says_one_thing(s);
		return t->all_known && tail_copy_pass_over(t, s, sure) ? REFUSED : WAITS;
	case COPY_AND_MORE:
		stream_jump(s, from);
		return ADMITTED;
	case NO_COPY:
		break;
	}
	return ADMITTED;
}

bool tail_copy_is_rotated(const struct tail_files *t, const struct stream *s)
{
	if (stream_is_copy(s))
		return true;
	for (const struct stream *l = t->streams; l; l = stream_next(l))
		if (l != s && tail_copy_named_after(stream_path(s), stream_log_path(l)))
			return true;
	return false;
}

/* Its end is committed, so that it is known after a restart too. */
static bool end_stream(struct tail_files *t, struct stream *s)
{
	struct position end;
	int64_t position = stream_offset(s);

	stream_jump(s, stream_size(s));
	stream_position(s, &end);
	end.from = position;
	end.finished = true;
	if (!agent_set_position(t->agent, &end)) {
		stream_jump(s, position);
		return false;
	}
	stream_pass_over(s);
	tail_files_remember(t, &end);
	return true;
}

bool tail_copy_pass_over(struct tail_files *t, struct stream *s, bool sure)
{
	char detail[600];

	if (!end_stream(t, s))
		return false;
	if (!sure) {
		snprintf(detail, sizeof detail,
			 "%s begins as an older part of the log does: taken for a copy and not read",
			 stream_path(s));
		reader_gap(t->reader, stream_id(s), "copy_passed_over", -1, stream_size(s), detail);
	}
	return true;
}
