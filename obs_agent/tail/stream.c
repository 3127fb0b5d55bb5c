#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/random.h"
#include "fingerprint.h"
#include "log_open.h"

enum {
	SETTLED_S = 2,                  /* time stamps are exact to so much, on any file system */
};

/* When the file was made; 0 where the file system does not say. */
static struct statx_timestamp born(int fd, const char *path)
{
	struct statx x = { 0 };

	if (statx(fd, path, *path ? 0 : AT_EMPTY_PATH, STATX_BTIME, &x) < 0 || !(x.stx_mask & STATX_BTIME))
		return (struct statx_timestamp){ 0 };
	return x.stx_btime;
}

/* Inode numbers are used again for the next file: the time of birth tells them apart. */
static void identify_by_inode(int fd, const struct stat *st, char *out, size_t size)
{
	struct statx_timestamp b = born(fd, "");

	if (b.tv_sec)
		snprintf(out, size, "%ju@%lld.%09u", (uintmax_t)st->st_ino, (long long)b.tv_sec, b.tv_nsec);
	else
		snprintf(out, size, "%ju", (uintmax_t)st->st_ino);
}

/* "major:minor/type:handle", or "major:minor/inode@birth" where the file system
 * gives no handle. A handle holds the inode's generation: unlike the inode number
 * it is not used again for the next file. */
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
		identify_by_inode(fd, st, out, size);
		return;
	}
	n = snprintf(out, size, "%d:", handle.h.handle_type);
	for (unsigned i = 0; i < handle.h.handle_bytes; i++)
		n += snprintf(out + n, size - (size_t)n, "%02x", handle.bytes[i]);
}

/* Symlinks are seen through. */
static bool name_of(int fd, char *out, size_t size)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, out, size - 1);
	if (n >= 0)
		out[n] = '\0';
	return n >= 0;
}

bool stream_name_now(const struct stream *s, char *out, size_t size)
{
	struct stat st;

	return fstat(s->fd, &st) == 0 && st.st_nlink > 0 && name_of(s->fd, out, size);
}

int stream_open(const char *path, struct logcore *log, struct stream **ret, struct err *e)
{
	struct stat st;
	CLEANUP(close_p) int fd = log_open_file(path, &st, e);
	struct stream *s;

	if (fd < 0)
		return fd;
	s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, ENOMEM, "%s: out of memory", path);
	snprintf(s->path, sizeof s->path, "%s", path);
	identify(fd, &st, s->file_id, sizeof s->file_id);
	s->key = stream_key(s->file_id);
	s->fd = TAKE_FD(fd);
	name_of(s->fd, s->path, sizeof s->path);
	memcpy(s->log_path, s->path, sizeof s->log_path);
	s->log = log;
	s->watch = -1;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->born = born(s->fd, "");
	s->id = random_id(63);
	s->idle_since_us = mono_us();
	s->since_us = wall_us() - STREAM_TICK_US;
	stream_seen(s, &st);
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

/* The part that survives a reboot in which devices are numbered anew. */
static const char *without_device(const char *file_id)
{
	const char *slash = strchr(file_id, '/');

	return slash ? slash : file_id;
}

/* Does the file begin as this head does? What can't be read is no objection: reading on will say
 * what is wrong. */
static bool begins_as(const struct stream *s, const struct head *h)
{
	char bytes[HEAD_MAX];
	ssize_t n = file_read_at(s->fd, bytes, sizeof bytes, 0);

	return n < 0 || head_fits(h, bytes, (size_t)n);
}

static bool has_head(const struct stream *s, const struct position *p, struct head *h)
{
	head_parse(h, p->head_hash);
	return begins_as(s, h);
}

static bool same_file(const struct stream *s, const struct position *p)
{
	return strcmp(without_device(s->file_id), without_device(p->file_id)) == 0;
}

bool stream_is(const struct stream *s, const struct position *p)
{
	struct head h;

	return same_file(s, p) && s->size >= p->to &&
	       (p->to == 0 ||
		((!p->head_hash[0] || has_head(s, p, &h)) && fingerprint_holds(s->fd, p->to, p->tail_hash)));
}

uint64_t stream_key(const char *file_id)
{
	const char *part = without_device(file_id);

	return fingerprint_hash(part, strlen(part)) | 1;   /* never 0 */
}

int64_t stream_born_us(const struct stream *s)
{
	return s->born.tv_sec * US_PER_S + s->born.tv_nsec / 1000;
}

int64_t stream_made_us(const struct stream *s)
{
	int64_t born_us = stream_born_us(s),
		written_us = s->written.tv_sec * US_PER_S + s->written.tv_nsec / 1000;

	return born_us > written_us ? born_us : written_us;
}

bool stream_same_text(const struct stream *s, const struct stream *other)
{
	int64_t size = s->size < other->size ? s->size : other->size;
	size_t n = size < HEAD_MAX ? (size_t)size : HEAD_MAX;

	return n > 0 && file_same_bytes(s->fd, other->fd, n, 0) &&
	       file_same_bytes(s->fd, other->fd, n, size - (int64_t)n);
}

enum likeness stream_likeness(const struct stream *s, const struct position *p)
{
	struct head h;

	if (p->to == 0 || !has_head(s, p, &h))
		return UNLIKE;
	if (s->size < p->to)
		return COPY_TOO_SHORT;
	return p->tail_hash[0] && fingerprint_holds(s->fd, p->to, p->tail_hash) ? COPY : UNLIKE;
}

bool stream_is_torn(const struct stream *s, const struct position *p)
{
	struct timespec up = { 0 };
	struct head h;

	clock_gettime(CLOCK_BOOTTIME, &up);
	return p->age_s > up.tv_sec && same_file(s, p) && has_head(s, p, &h) && h.len == HEAD_MAX &&
	       s->size >= HEAD_MAX && !stream_is(s, p);
}

bool stream_replaced(const struct stream *s, const char *path)
{
	struct statx_timestamp b = born(AT_FDCWD, path);

	return b.tv_sec != s->born.tv_sec || b.tv_nsec != s->born.tv_nsec;
}

bool stream_same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* A file that changed just now may change again at the same time stamp. */
static bool settled(const struct stat *st)
{
	return wall_us() - (int64_t)st->st_ctim.tv_sec * US_PER_S > SETTLED_S * US_PER_S;
}

int64_t stream_text_size(const struct stream *s)
{
	return stream_is_prepared(s) ? s->scanned : s->size;
}

bool stream_is_prepared(const struct stream *s)
{
	return s->zeros_to >= s->size && s->zeros_to > s->scanned;
}

void stream_look_for_text(struct stream *s)
{
	char c = '\0';

	if (s->fd >= 0 && pread(s->fd, &c, 1, s->scanned) == 1 && c != '\0')
		s->dirty = true;
}

/* No text does: what is there may be no text at all. */
static bool ends_in_zero(const struct stream *s)
{
	char c = '\n';

	return s->fd >= 0 && s->size > 0 && pread(s->fd, &c, 1, s->size - 1) == 1 && c == '\0';
}

void stream_seen(struct stream *s, const struct stat *st)
{
	bool same = st->st_size == s->size && stream_same_time(st->st_mtim, s->written) &&
		    stream_same_time(st->st_ctim, s->changed);

	bool filled = st->st_size > s->size;

	s->unlinked = st->st_nlink == 0;
	if (same && settled(st))
		return;
	s->dirty = true;
	if (same)
		return;
	if (filled)
		s->filled_us = (int64_t)st->st_mtim.tv_sec * US_PER_S + st->st_mtim.tv_nsec / 1000;
	s->size = st->st_size;
	s->written = st->st_mtim;
	s->changed = st->st_ctim;
	s->grew_us = mono_us();
	if (filled && s->top < s->size && !ends_in_zero(s))
		s->top = s->size;
	if (s->zeros_to > s->size)
		s->zeros_to = 0;
	if (!s->lag_since_us && stream_text_size(s) > s->committed) {
		s->lag_since_us = s->lag_mark_us = s->grew_us;
		s->lag_mark = s->size;
	}
}

void stream_committed(struct stream *s, int64_t to)
{
	s->committed = to;
	if (to >= stream_text_size(s)) {
		s->lag_since_us = 0;
	} else if (to >= s->lag_mark) {         /* what is left came after the mark was made */
		s->lag_since_us = s->lag_mark_us;
		s->lag_mark = s->size;
		s->lag_mark_us = mono_us();
	}
}

bool stream_silent(const struct stream *s, int64_t us)
{
	return mono_us() - s->grew_us >= us || wall_us() - ((int64_t)s->written.tv_sec + 1) * US_PER_S >= us;
}

bool stream_park(struct stream *s)
{
	if (strlen(s->path) >= sizeof s->path - 1 || s->unlinked || stream_is_prepared(s))
		return false;
	close_p(&s->fd);
	return true;
}

int stream_reopen(struct stream *s, struct err *e)
{
	struct stat st;
	CLEANUP(close_p) int fd = log_open_file(s->path, &st, e);
	char now[sizeof s->file_id];

	if (fd < 0)
		return fd;
	identify(fd, &st, now, sizeof now);
	if (strcmp(now, s->file_id) != 0)
		return err_set(e, ESTALE, "%s: another file is there now", s->path);
	s->fd = TAKE_FD(fd);
	return 0;
}

bool stream_is_away(const struct stream *s)
{
	return s->life != FOLLOWED || strcmp(s->path, s->log_path) != 0;
}

void stream_found_at(struct stream *s, const char *path)
{
	if (strcmp(s->path, path) == 0)
		return;
	if (s->fd >= 0)
		name_of(s->fd, s->path, sizeof s->path);
	else if (strlen(path) < sizeof s->path)
		memcpy(s->path, path, strlen(path) + 1);
	s->search_until_us = mono_us() + STREAM_SEARCH_S * US_PER_S;
}

/* What of the head was read and is not hashed: it is read again. */
static void complete_head(struct stream *s)
{
	char bytes[HEAD_MAX];
	size_t end = s->position < HEAD_MAX ? (size_t)s->position : HEAD_MAX;
	ssize_t n = s->head.len < end ? file_read_at(s->fd, bytes, end - s->head.len, s->head.len) : 0;

	if (n > 0)
		head_add(&s->head, bytes, (size_t)n);
}

void stream_jump(struct stream *s, int64_t to)
{
	size_t n = to < STREAM_TAIL_MAX ? (size_t)to : STREAM_TAIL_MAX;
	ssize_t got = file_read_at(s->fd, s->tail, n, to - (int64_t)n);

	s->tail_len = got == (ssize_t)n ? n : 0;
	s->position = s->scanned = to;
	s->open_group = false;
	s->idle_since_us = mono_us();
	s->read_us = wall_us();
	complete_head(s);
}

void stream_forget_form(struct stream *s)
{
	s->form = (struct multiline){ 0 };
	s->last_us = 0;
	s->recalled = false;
}

void stream_resume(struct stream *s, const struct position *p)
{
	stream_forget_form(s);
	head_parse(&s->head, p->head_hash);
	stream_jump(s, p->to);
	s->id = p->stream_id;
	stream_committed(s, p->to);
	if (p->path[0])
		memcpy(s->log_path, p->path, sizeof s->log_path);
	stream_live_on(s);
	s->told = true;
	s->lost_told = false;
	s->rate = (struct rate_limit){ .behind = true };    /* what is read again is not to count twice */
	s->dirty = true;
}

bool stream_holds(const struct stream *s)
{
	char now[STREAM_TAIL_MAX];

	if (s->size < s->position)
		return false;
	if (file_read_at(s->fd, now, s->tail_len, s->position - (int64_t)s->tail_len) ==
		    (ssize_t)s->tail_len &&
	    memcmp(now, s->tail, s->tail_len) != 0)
		return false;
	return s->size <= s->scanned || s->head.len == 0 || begins_as(s, &s->head);
}

bool stream_unchanged(struct stream *s)
{
	int64_t top = s->top;
	struct stat st;

	if (fstat(s->fd, &st) < 0)
		return true;            /* reading will say what is wrong */
	stream_seen(s, &st);
	if (stream_holds(s))
		return true;
	s->top = top;                   /* of the text that was read, not of the new one */
	return false;
}

void stream_restart(struct stream *s)
{
	s->id = random_id(63);
	s->position = s->committed = s->scanned = s->zeros_to = 0;
	s->tail_len = 0;
	s->head = (struct head){ 0 };
	s->top = ends_in_zero(s) ? 0 : s->size;
	s->lost = 0;
	s->lost_told = false;
	s->rate = (struct rate_limit){ .behind = true };
	stream_forget_form(s);
	s->lag_since_us = s->lag_mark_us = s->size > 0 ? mono_us() : 0;
	s->lag_mark = s->size;
	s->open_group = s->copy = s->told = false;
	stream_live_on(s);
	s->dirty = true;
}

void stream_begin_again(struct stream *s, bool keep_id)
{
	int64_t id = s->id;
	bool copy = s->copy;

	stream_restart(s);
	s->copy = copy;
	if (keep_id)
		s->id = id;
}

void stream_restart_behind(struct stream *s)
{
	stream_restart(s);
	stream_jump(s, s->size);
	s->lost = -1;
	s->lost_why = "the file lost its last bytes when the machine went down; what was written before it "
		      "was looked at again "
		      "may be missing";
}

void stream_advance(struct stream *s, int64_t to, const char *end, size_t available)
{
	size_t n = available < STREAM_TAIL_MAX ? available : STREAM_TAIL_MAX;
	size_t keep = s->tail_len < STREAM_TAIL_MAX - n ? s->tail_len : STREAM_TAIL_MAX - n;

	if (s->position == s->head.len)
		head_add(&s->head, end - available, available);
	memmove(s->tail, s->tail + s->tail_len - keep, keep);
	memcpy(s->tail + keep, end - n, n);
	s->tail_len = keep + n;
	s->position = to;
	s->open_group = false;
	if (s->scanned < to)
		s->scanned = to;
	s->idle_since_us = mono_us();
	s->read_us = wall_us();
}

void stream_position(const struct stream *s, struct position *ret)
{
	*ret = (struct position){ .stream_id = s->id, .from = s->told ? s->position : 0, .to = s->position,
				  .begins = !s->told, .finished = stream_ended(s), .tells_lost = s->lost_told,
				  .source = SOURCE_TAIL };
	memcpy(ret->path, s->log_path, sizeof ret->path);
	memcpy(ret->file_id, s->file_id, sizeof ret->file_id);
	head_print(&s->head, ret->head_hash, sizeof ret->head_hash);
	fingerprint_print(s->tail, s->tail_len, ret->tail_hash, sizeof ret->tail_hash);
}
