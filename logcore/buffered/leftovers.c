#include "leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring_file.h"
#include "process.h"

enum {
	STEP = 64 * 1024,               /* bytes of the log read at a time */
	PIECE = 4096,                   /* bytes compared at a time */
	HEAD = 32                       /* bytes of a line that tell most lines apart: "{"timestamp":"..." */
};

/* How far behind the start of the write its lines are searched. */
static const off_t SEARCH_MAX = (off_t)1 << 30;

/* The folder of the log. */
struct place {
	int folder;
	DIR *dir;
	const char *name;               /* of the log in that folder */
};

/* ---- how much of an interrupted write(2) is in the log --------------------------------- */

struct search {
	int fd;
	struct file_place end;          /* of the log */
	const char *lines;
	size_t n;
	size_t found;                   /* the answer: bytes of `lines` that the log has */
};

/* How many bytes at `at` in the log equal the lines. */
static size_t in_common(const struct search *s, off_t at)
{
	char piece[PIECE];
	size_t same = 0;

	while (same < s->n) {
		size_t want = s->n - same < sizeof piece ? s->n - same : sizeof piece;
		ssize_t got = pread(s->fd, piece, want, at + (off_t)same);
		ssize_t i = 0;

		while (i < got && piece[i] == s->lines[same + (size_t)i])
			i++;
		same += (size_t)i;
		if (i <= 0 || i < got)
			break;
	}
	return same;
}

/* A part at the end of the log can be completed. If others wrote behind the part, only its
 * whole lines count, and the torn one is written again. */
static void look_at(struct search *s, off_t at)
{
	size_t same = in_common(s, at);

	if (same < s->n && (uint64_t)at + same < s->end.at)
		same = logcore_ring_whole_lines(s->lines, same);
	if (same > s->found)
		s->found = same;
}

/* Compare at the start of each line, beginning at `from`. */
static void search(struct search *s, off_t from, char *room)
{
	bool begins = true;

	for (ssize_t got; s->found < s->n && (got = pread(s->fd, room, STEP, from)) > 0; from += got) {
		for (const char *p = room, *end = room + got; p < end && s->found < s->n;) {
			size_t left = (size_t)(end - p), head = left < HEAD ? left : HEAD;
			const char *newline = memchr(p, '\n', left);

			if (begins && memcmp(p, s->lines, head < s->n ? head : s->n) == 0)
				look_at(s, from + (p - room));
			begins = newline != NULL;
			p = newline ? newline + 1 : end;
		}
	}
}

static void look_in(struct search *s, const struct place *in, const char *name,
		    const struct file_place *began, bool same_only)
{
	char *room = malloc(STEP);
	struct stat st;

	s->fd = openat(in->folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (s->fd >= 0 && room && fstat(s->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		bool same = st.st_dev == began->device && st.st_ino == began->inode;
		off_t from = same ? (off_t)began->at : 0;

		s->end = (struct file_place){ st.st_dev, st.st_ino, (uint64_t)st.st_size };
		if ((same || !same_only) && st.st_size - from <= SEARCH_MAX)
			search(s, from, room);
	}
	if (s->fd >= 0)
		close(s->fd);
	free(room);
}

/* Search the log, which may have become another file between the note and the write; then,
 * in case it was rotated since, the noted file under a name that starts with the log's. */
static void look_everywhere(struct search *s, const struct place *in, const struct file_place *began)
{
	int again = openat(in->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	size_t len = strlen(in->name);
	struct dirent *e;

	look_in(s, in, in->name, began, false);
	while (s->found == 0 && dir && (e = readdir(dir)))
		if (strncmp(e->d_name, in->name, len) == 0 && e->d_name[len])
			look_in(s, in, e->d_name, began, true);
	if (dir)
		closedir(dir);
}

/* How many bytes need not be written. Completes a line that is torn at the end of the log;
 * if that fails, the line counts as not written. */
static size_t already_written(const struct place *in, struct sink *sink, const struct file_place *began,
			      const char *lines, size_t n)
{
	struct search s = { .lines = lines, .n = n };
	size_t whole;
	const char *newline;

	look_everywhere(&s, in, began);
	whole = logcore_ring_whole_lines(lines, s.found);
	newline = s.found > whole ? memchr(lines + s.found, '\n', n - s.found) : NULL;
	if (newline && logcore_file_complete(logcore_sink_file(sink), &s.end, lines + s.found,
					     (size_t)(newline + 1 - lines) - s.found))
		return (size_t)(newline + 1 - lines);
	return whole;
}

/* ---- writing --------------------------------------------------------------------------- */

static bool write_ring(const struct place *in, struct sink *sink, struct ring *r, int64_t now_us)
{
	struct ring_state *state = r->state;
	size_t n, writing = atomic_load(&state->writing);
	const char *lines = logcore_ring_look(r, &n);

	if (writing && writing <= n && state->writing_from == atomic_load(&state->tail))
		logcore_ring_end(r, already_written(in, sink, &state->place, lines, writing));
	return logcore_ring_drain(r, sink, now_us);
}

static void write_file(const struct place *in, const char *name, struct sink *sink, int64_t now_us)
{
	struct ring_file h;
	bool done = true;

	if (logcore_ring_file_take(&h, in->folder, name) < 0)
		return;
	for (unsigned i = 0; i < h.rings; i++) {
		struct ring r;

		if (logcore_ring_file_map(&h, i, &r) < 0) {
			done = false;
			continue;
		}
		done &= write_ring(in, sink, &r, now_us);
		logcore_ring_unmap(&r);
	}
	if (done)
		unlinkat(in->folder, name, 0);
	logcore_ring_file_close(&h, true);
}

static bool open_place(struct place *in, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
	char *folder = len ? strndup(path, len) : strdup(".");

	in->name = slash ? slash + 1 : path;
	in->dir = folder ? opendir(folder) : NULL;
	in->folder = in->dir ? dirfd(in->dir) : -1;
	free(folder);
	return in->dir;
}

/* A process that was killed while it made its file left this. */
static void remove_unfinished(const struct place *in, const char *name, const struct stat *st, int64_t now_us)
{
	static const int64_t AGE_S = 60;

	if (now_us / 1000000 - st->st_mtim.tv_sec > AGE_S)
		unlinkat(in->folder, name, 0);
}

void logcore_leftovers_write(struct sink *sink, int64_t now_us)
{
	const char *path = logcore_file_path(logcore_sink_file(sink));
	struct place in;
	struct dirent *e;
	struct stat st;

	if (!path || !open_place(&in, path))
		return;
	while ((e = readdir(in.dir))) {
		enum ring_file_kind kind = logcore_ring_file_kind(e->d_name, in.name);

		if (kind == NO_RING_FILE || fstatat(in.folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (kind == UNFINISHED_RING_FILE)
			remove_unfinished(&in, e->d_name, &st, now_us);
		else if (!logcore_process_holds(st.st_dev, st.st_ino))
			write_file(&in, e->d_name, sink, now_us);
	}
	closedir(in.dir);
}
