#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../common/cleanup.h"
#include "../common/clock.h"

/* FNV-1a, 64 bits: tells texts apart, needs not withstand an attacker, who could
 * write any line into the file anyway. */
static uint64_t fnv1a(const char *s, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* pread() until n bytes or the end; -errno on failure. */
static ssize_t read_at(int fd, char *to, size_t n, int64_t offset)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = pread(fd, to + got, n - got, offset + (off_t)got);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

static int64_t random_id(void)
{
	uint64_t id = 0;

	while (id == 0) {
		if (getrandom(&id, sizeof id, 0) != sizeof id)
			id = (uint64_t)wall_us() * UINT64_C(0x9e3779b97f4a7c15);
		id &= INT64_MAX;
	}
	return (int64_t)id;
}

/* "major:minor/type:handle", or "major:minor/inode" where the file system gives
 * no handle. A handle holds the inode's generation: unlike the inode number it
 * is not used again for the next file. */
static void identify(int fd, const struct stat *st, char *out, size_t size)
{
	struct {
		struct file_handle h;
		unsigned char bytes[MAX_HANDLE_SZ];
	} handle = { .h.handle_bytes = MAX_HANDLE_SZ };
	int mount, n = snprintf(out, size, "%u:%u/", major(st->st_dev), minor(st->st_dev));

	if (n < 0 || (size_t)n >= size)
		return;
	out += n;
	size -= (size_t)n;
	if (name_to_handle_at(fd, "", &handle.h, &mount, AT_EMPTY_PATH) < 0 ||
	    handle.h.handle_bytes * 2 + 12 > size) {
		snprintf(out, size, "%ju", (uintmax_t)st->st_ino);
		return;
	}
	n = snprintf(out, size, "%d:", handle.h.handle_type);
	for (unsigned i = 0; i < handle.h.handle_bytes; i++)
		n += snprintf(out + n, size - (size_t)n, "%02x", handle.bytes[i]);
}

/* The name that the open file has now: symlinks are seen through. */
static void find_name(struct stream *s)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", s->fd);
	n = readlink(link, s->path, sizeof s->path - 1);
	if (n >= 0)
		s->path[n] = '\0';
}

int stream_open(const char *path, struct stream **ret, struct err *e)
{
	CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stream *s;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s: not a regular file", path);
	s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, ENOMEM, "%s: out of memory", path);
	snprintf(s->path, sizeof s->path, "%s", path);
	identify(fd, &st, s->file_id, sizeof s->file_id);
	s->fd = TAKE_FD(fd);
	find_name(s);
	memcpy(s->log_path, s->path, sizeof s->log_path);
	s->watch = -1;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->size = st.st_size;
	s->id = random_id();
	s->idle_since_us = mono_us();
	*ret = s;
	return 0;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	close_p(&s->fd);
	free(s);
}

/* "length:hash" of the n bytes before `end`; "" where they can't be read. */
static void hash_range(int fd, int64_t end, size_t n, char *out, size_t size)
{
	char bytes[STREAM_HEAD_MAX];

	out[0] = '\0';
	if (read_at(fd, bytes, n, end - (int64_t)n) == (ssize_t)n)
		snprintf(out, size, "%zu:%016" PRIx64, n, fnv1a(bytes, n));
}

/* Do the bytes before `end` (0: at the start) still have this "length:hash"? */
static bool hash_holds(int fd, int64_t end, const char *hash)
{
	char now[40], *colon;
	unsigned long n = strtoul(hash, &colon, 10);

	if (*hash == '\0')
		return true;            /* nothing was known: no objection */
	if (*colon != ':' || n > STREAM_HEAD_MAX || (end && (int64_t)n > end))
		return false;
	hash_range(fd, end ? end : (int64_t)n, n, now, sizeof now);
	return strcmp(now, hash) == 0;
}

/* The part that survives a reboot in which devices are numbered anew. */
static const char *without_device(const char *file_id)
{
	const char *slash = strchr(file_id, '/');

	return slash ? slash : file_id;
}

bool stream_is(const struct stream *s, const struct position *p)
{
	return strcmp(without_device(s->file_id), without_device(p->file_id)) == 0 && s->size >= p->to &&
	       hash_holds(s->fd, 0, p->head_hash) && (p->to == 0 || hash_holds(s->fd, p->to, p->tail_hash));
}

/* When the file was made; where the file system does not say, when it was last written. */
static struct statx_timestamp born(const struct stream *s)
{
	struct statx x = { 0 };

	if (statx(s->fd, "", AT_EMPTY_PATH, STATX_BTIME | STATX_MTIME, &x) < 0)
		return (struct statx_timestamp){ 0 };
	return x.stx_mask & STATX_BTIME ? x.stx_btime : x.stx_mtime;
}

bool stream_is_younger(const struct stream *s, const struct stream *other)
{
	struct statx_timestamp a = born(s), b = born(other);

	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

bool stream_is_copy(const struct stream *s, const struct stream *other)
{
	return other->head_hash[0] && hash_holds(s->fd, 0, other->head_hash);
}

void stream_jump(struct stream *s, int64_t to)
{
	size_t n = to < STREAM_TAIL_MAX ? (size_t)to : STREAM_TAIL_MAX;
	ssize_t got = read_at(s->fd, s->tail, n, to - (int64_t)n);

	s->tail_len = got == (ssize_t)n ? n : 0;
	s->position = s->scanned = to;
	s->idle_since_us = mono_us();
}

void stream_resume(struct stream *s, const struct position *p)
{
	stream_jump(s, p->to);
	s->id = p->stream_id;
	s->committed = p->to;
	if (p->path[0])
		memcpy(s->log_path, p->path, sizeof s->log_path);
	snprintf(s->head_hash, sizeof s->head_hash, "%s", p->head_hash);
	s->finished = false;
}

bool stream_unchanged(struct stream *s)
{
	char now[STREAM_TAIL_MAX];
	struct stat st;

	if (fstat(s->fd, &st) < 0)
		return true;            /* reading will say what is wrong */
	s->size = st.st_size;
	if (s->size < s->position)
		return false;
	if (read_at(s->fd, now, s->tail_len, s->position - (int64_t)s->tail_len) == (ssize_t)s->tail_len &&
	    memcmp(now, s->tail, s->tail_len) != 0)
		return false;
	return s->size <= s->scanned || hash_holds(s->fd, 0, s->head_hash);
}

void stream_restart(struct stream *s)
{
	s->id = random_id();
	s->position = s->committed = s->scanned = 0;
	s->tail_len = 0;
	s->head_hash[0] = '\0';
	s->finished = false;
}

void stream_advance(struct stream *s, int64_t to, const char *end, size_t available)
{
	size_t n = available < STREAM_TAIL_MAX ? available : STREAM_TAIL_MAX;
	size_t keep = s->tail_len < STREAM_TAIL_MAX - n ? s->tail_len : STREAM_TAIL_MAX - n;

	memmove(s->tail, s->tail + s->tail_len - keep, keep);
	memcpy(s->tail + keep, end - n, n);
	s->tail_len = keep + n;
	s->position = to;
	if (s->scanned < to)
		s->scanned = to;
	s->idle_since_us = mono_us();
}

/* The head is hashed again until it is as long as it may be. */
static void update_head(struct stream *s)
{
	size_t n = s->position < STREAM_HEAD_MAX ? (size_t)s->position : STREAM_HEAD_MAX;
	char full[8];

	snprintf(full, sizeof full, "%d:", STREAM_HEAD_MAX);
	if (n > 0 && strncmp(s->head_hash, full, strlen(full)) != 0)
		hash_range(s->fd, (int64_t)n, n, s->head_hash, sizeof s->head_hash);
}

void stream_position(struct stream *s, struct position *ret)
{
	update_head(s);
	*ret = (struct position){ .stream_id = s->id, .from = s->position, .to = s->position,
				  .finished = s->finished };
	memcpy(ret->path, s->log_path, sizeof ret->path);
	memcpy(ret->file_id, s->file_id, sizeof ret->file_id);
	memcpy(ret->head_hash, s->head_hash, sizeof ret->head_hash);
	if (s->tail_len)
		snprintf(ret->tail_hash, sizeof ret->tail_hash, "%zu:%016" PRIx64, s->tail_len,
			 fnv1a(s->tail, s->tail_len));
}
