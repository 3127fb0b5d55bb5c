#include "leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "held.h"
#include "process.h"

enum {
	STEP = 64 * 1024,               /* bytes of the log looked at at a time */
	PIECE = 4096,                   /* bytes compared at a time */
	HEAD = 32                       /* of a line: enough to tell most apart, "{"timestamp":"..." */
};

/* Further than this from where the write began its lines are not looked for. */
static const off_t SEARCH_MAX = (off_t)1 << 30;

/* The folder of the log. */
struct place {
	int folder;
	DIR *dir;
	const char *name;               /* of the log in there */
};

/* ---- what is there of a write(2) that was interrupted --------------------------------- */

struct search {
	int fd;
	off_t end;                      /* of the log */
	const char *lines;
	size_t n;
	size_t found;                   /* the answer: bytes of `lines` that are there */
};

/* How many bytes at `at` of the log are those of the lines. */
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

static size_t whole_lines(const char *lines, size_t n)
{
	const char *end = memrchr(lines, '\n', n);

	return end ? (size_t)(end - lines) + 1 : 0;
}

/* A part that ends with the log can be gone on with; of one that others wrote behind,
 * the whole lines count and what was torn is written again. */
static void look_at(struct search *s, off_t at)
{
	size_t same = in_common(s, at);

	if (same < s->n && at + (off_t)same < s->end)
		same = whole_lines(s->lines, same);
	if (same > s->found)
		s->found = same;
}

/* At each beginning of a line from `from` on. */
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

static size_t found_in(const struct place *in, const char *name, const struct ring_place *began, bool same_only,
		       const char *lines, size_t n)
{
	struct search s = { .fd = openat(in->folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .lines = lines, .n = n };
	char *room = malloc(STEP);
	struct stat st;

	if (s.fd >= 0 && room && fstat(s.fd, &st) == 0 && S_ISREG(st.st_mode)) {
		bool same = st.st_dev == began->device && st.st_ino == began->inode;
		off_t from = same ? (off_t)began->at : 0;

		s.end = st.st_size;
		if ((same || !same_only) && s.end - from <= SEARCH_MAX)
			search(&s, from, room);
	}
	if (s.fd >= 0)
		close(s.fd);
	free(room);
	return s.found;
}

/* In the log, which may have become another file between the note and the write, or
 * in a file that is named after it, if it was rotated since. */
static size_t already_written(const struct place *in, const struct ring_place *began, const char *lines, size_t n)
{
	size_t found = found_in(in, in->name, began, false, lines, n), len = strlen(in->name);
	struct dirent *e;

	rewinddir(in->dir);
	while (found == 0 && (e = readdir(in->dir)))
		if (strncmp(e->d_name, in->name, len) == 0 && e->d_name[len])
			found = found_in(in, e->d_name, began, true, lines, n);
	return found;
}

/* ---- writing --------------------------------------------------------------------------- */

static bool write_ring(const struct place *in, struct sink *sink, struct ring *r, int64_t now_us)
{
	struct ring_state *state = r->state;
	size_t n, writing, used;
	const char *lines = logcore_ring_look(r, &n);
	struct ring_place place = { 0 };

	writing = atomic_load(&state->writing);
	if (writing && writing <= n && state->writing_from == atomic_load(&state->tail))
		logcore_ring_end(r, already_written(in, &state->place, lines, writing));
	lines = logcore_ring_look(r, &n);
	if (n == 0)
		return true;
	logcore_file_place(logcore_sink_file(sink), &place);
	logcore_ring_begin(r, n, &place);
	used = logcore_sink_drain(sink, lines, n, now_us);
	logcore_ring_end(r, used);
	return used == n;
}

static void write_file(const struct place *in, const char *name, struct sink *sink, int64_t now_us)
{
	struct held h;
	bool done = true;

	if (logcore_held_take(&h, in->folder, name) < 0)
		return;
	for (unsigned i = 0; i < h.rings; i++) {
		struct ring r;

		if (logcore_held_map(&h, i, &r) < 0) {
			done = false;
			continue;
		}
		done &= write_ring(in, sink, &r, now_us);
		logcore_ring_unmap(&r);
	}
	if (done)
		unlinkat(in->folder, name, 0);
	logcore_held_close(&h, true);
}

static bool open_place(struct place *in, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash == path ? strdup("/") : slash ? strndup(path, (size_t)(slash - path)) : strdup(".");

	in->name = slash ? slash + 1 : path;
	in->dir = folder ? opendir(folder) : NULL;
	in->folder = in->dir ? dirfd(in->dir) : -1;
	free(folder);
	return in->dir;
}

/* The names first: the folder is read again for each. */
void logcore_leftovers_write(struct sink *sink, int64_t now_us)
{
	enum { MOST = 256 };
	const char *path = logcore_file_path(logcore_sink_file(sink));
	char *names[MOST];
	size_t n = 0;
	struct place in;
	struct dirent *e;
	struct stat st;

	if (!path || !open_place(&in, path))
		return;
	while (n < MOST && (e = readdir(in.dir)))
		if (logcore_held_is_name(e->d_name, in.name) && fstatat(in.folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    !logcore_process_holds(st.st_dev, st.st_ino) && (names[n] = strdup(e->d_name)))
			n++;
	for (size_t i = 0; i < n; i++) {
		write_file(&in, names[i], sink, now_us);
		free(names[i]);
	}
	closedir(in.dir);
}
