#include "stream_fields.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/random.h"
#include "fingerprint.h"
#include "log_open.h"

enum {
	SETTLED_S = 2,                  /* time stamps are exact to so much, on any file system */
};

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
	snprintf(s->place.path, sizeof s->place.path, "%s", path);
	identity_of(fd, &st, &s->file);
	s->fd = TAKE_FD(fd);
	name_of(s->fd, s->place.path, sizeof s->place.path);
	memcpy(s->place.log_path, s->place.path, sizeof s->place.log_path);
	s->log = log;
	s->links.watch = -1;
	s->place.unproven = true;
	s->id = random_id(63);
	s->at.idle_since_us = mono_us();
	s->search.since_us = wall_us() - STREAM_TICK_US;
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
	return stream_is_prepared(s) ? s->at.scanned : s->seen.size;
}

bool stream_is_prepared(const struct stream *s)
{
	return s->zeros.to >= s->seen.size && s->zeros.to > s->at.scanned;
}

void stream_look_for_text(struct stream *s)
{
	char c = '\0';

	if (s->fd >= 0 && pread(s->fd, &c, 1, s->at.scanned) == 1 && c != '\0')
		s->dirty = true;
}

/* No text does: what is there may be no text at all. */
static bool ends_in_zero(const struct stream *s)
{
	char c = '\n';

	return s->fd >= 0 && s->seen.size > 0 && pread(s->fd, &c, 1, s->seen.size - 1) == 1 && c == '\0';
}

void stream_seen(struct stream *s, const struct stat *st)
{
	bool same = st->st_size == s->seen.size && stream_same_time(st->st_mtim, s->seen.written) &&
		    stream_same_time(st->st_ctim, s->seen.changed);

	bool filled = st->st_size > s->seen.size;

	s->place.unlinked = st->st_nlink == 0;
	if (same && settled(st))
		return;
	s->dirty = true;
	if (same)
		return;
	if (st->st_size == s->seen.size)        /* written in place, perhaps where no line had ended */
		s->at.scanned = s->at.position;
	if (filled)
		s->seen.filled_us = (int64_t)st->st_mtim.tv_sec * US_PER_S + st->st_mtim.tv_nsec / 1000;
	s->seen.size = st->st_size;
	s->seen.written = st->st_mtim;
	s->seen.changed = st->st_ctim;
	s->seen.grew_us = mono_us();
	s->seen.cut |= s->seen.size < s->seen.top;
	if (filled && s->seen.top < s->seen.size && !s->seen.cut && !ends_in_zero(s))
		s->seen.top = s->seen.size;
	if (s->zeros.to > s->seen.size)
		s->zeros.to = 0;
	if (!s->lag.since_us && stream_text_size(s) > s->at.committed) {
		s->lag.since_us = s->lag.mark_us = s->seen.grew_us;
		s->lag.mark = s->seen.size;
	}
}

void stream_committed(struct stream *s, int64_t to)
{
	s->at.committed = to;
	if (to >= stream_text_size(s)) {
		s->lag.since_us = 0;
	} else if (to >= s->lag.mark) {         /* what is left came after the mark was made */
		s->lag.since_us = s->lag.mark_us;
		s->lag.mark = s->seen.size;
		s->lag.mark_us = mono_us();
	}
}

bool stream_silent(const struct stream *s, int64_t us)
{
	int64_t written_us = ((int64_t)s->seen.written.tv_sec + 1) * US_PER_S;

	return mono_us() - s->seen.grew_us >= us || wall_us() - written_us >= us;
}

void stream_refresh_path(struct stream *s)
{
	char now[sizeof s->place.path];

	if (s->fd < 0 || !stream_name_now(s, now, sizeof now))
		return;
	s->place.unproven |= s->life == FOLLOWED && strcmp(s->place.path, now) != 0;
	memcpy(s->place.path, now, sizeof s->place.path);
}

bool stream_park(struct stream *s)
{
	if (strlen(s->place.path) >= sizeof s->place.path - 1 || s->place.unlinked || stream_is_prepared(s))
		return false;
	close_p(&s->fd);
	return true;
}

int stream_reopen(struct stream *s, struct err *e)
{
	struct stat st;
	CLEANUP(close_p) int fd = log_open_file(s->place.path, &st, e);
	struct identity now;

	if (fd < 0)
		return fd;
	identity_of(fd, &st, &now);
	if (strcmp(now.file_id, s->file.file_id) != 0)
		return err_set(e, ESTALE, "%s: another file is there now", s->place.path);
	s->fd = TAKE_FD(fd);
	return 0;
}

bool stream_is_away(const struct stream *s)
{
	return s->life != FOLLOWED || strcmp(s->place.path, s->place.log_path) != 0;
}

void stream_found_at(struct stream *s, const char *path)
{
	char before[STREAM_PATH_SIZE];

	if (strcmp(s->place.path, path) == 0)
		return;
	memcpy(before, s->place.path, sizeof before);
	if (s->fd >= 0)
		name_of(s->fd, s->place.path, sizeof s->place.path);
	else if (strlen(path) < sizeof s->place.path)
		memcpy(s->place.path, path, strlen(path) + 1);
	if (strcmp(s->place.path, before) == 0)
		return;                 /* found by a link */
	s->place.unproven = s->dirty = true;
	stream_search_for_a_while(s);
}

/* What of the head was read and is not hashed: it is read again. */
static void complete_head(struct stream *s)
{
	char bytes[HEAD_MAX];
	size_t end = s->at.position < HEAD_MAX ? (size_t)s->at.position : HEAD_MAX;
	struct head *head = &s->at.head;
	ssize_t n = head->len < end ? file_read_at(s->fd, bytes, end - head->len, head->len) : 0;

	if (n > 0)
		head_add(head, bytes, (size_t)n);
}

void stream_jump(struct stream *s, int64_t to)
{
	size_t n = to < STREAM_TAIL_MAX ? (size_t)to : STREAM_TAIL_MAX;
	ssize_t got = file_read_at(s->fd, s->at.tail, n, to - (int64_t)n);

	s->at.tail_len = got == (ssize_t)n ? n : 0;
	s->at.position = s->at.scanned = to;
	s->group.open = false;
	s->at.idle_since_us = mono_us();
	s->at.read_us = wall_us();
	complete_head(s);
}

void stream_forget_form(struct stream *s)
{
	s->reading.form = (struct multiline){ 0 };
	s->reading.last_us = s->reading.last_at_us = 0;
	s->reading.recalled = false;
}

void stream_resume(struct stream *s, const struct position *p)
{
	stream_forget_form(s);
	head_parse(&s->at.head, p->head_hash);
	stream_jump(s, p->to);
	s->id = p->stream_id;
	stream_committed(s, p->to);
	if (p->path[0])
		memcpy(s->place.log_path, p->path, sizeof s->place.log_path);
	stream_live_on(s);
	s->told = true;
	s->loss.told = false;
	s->reading.rate = (struct rate_limit){ .behind = true }; /* what is read again does not count twice */
	s->dirty = true;
}

void stream_restart(struct stream *s)
{
	s->id = random_id(63);
	s->at.position = s->at.committed = s->at.scanned = s->zeros.to = 0;
	s->at.tail_len = 0;
	s->at.head = (struct head){ 0 };
	s->seen.top = ends_in_zero(s) ? 0 : s->seen.size;
	s->seen.cut = false;
	s->place.unproven = true;
	s->loss.bytes = 0;
	s->loss.told = false;
	s->reading.rate = (struct rate_limit){ .behind = true };
	stream_forget_form(s);
	s->lag.since_us = s->lag.mark_us = s->seen.size > 0 ? mono_us() : 0;
	s->lag.mark = s->seen.size;
	s->group.open = s->copy = s->told = false;
	stream_live_on(s);
	s->dirty = true;
}

void stream_begin_again(struct stream *s, bool keep_id)
{
	int64_t id = s->id;
	bool copy = s->copy, unread = s->at.position == 0;
	struct extent seen = s->seen;

	stream_restart(s);
	s->copy = copy;
	if (unread)                     /* what was cut off it before is still to be told */
		s->seen = seen;
	if (keep_id)
		s->id = id;
}

void stream_restart_behind(struct stream *s)
{
	stream_restart(s);
	stream_jump(s, s->seen.size);
	stream_set_loss(s, -1,
			"the file lost its last bytes when the machine went down; what was written before it "
			"was looked at again may be missing");
}

void stream_advance(struct stream *s, int64_t to, const char *end, size_t available)
{
	size_t n = available < STREAM_TAIL_MAX ? available : STREAM_TAIL_MAX;
	size_t keep = s->at.tail_len < STREAM_TAIL_MAX - n ? s->at.tail_len : STREAM_TAIL_MAX - n;

	if (s->at.position == s->at.head.len)
		head_add(&s->at.head, end - available, available);
	memmove(s->at.tail, s->at.tail + s->at.tail_len - keep, keep);
	memcpy(s->at.tail + keep, end - n, n);
	s->at.tail_len = keep + n;
	s->at.position = to;
	s->group.open = false;
	if (s->at.scanned < to)
		s->at.scanned = to;
	s->at.idle_since_us = mono_us();
	s->at.read_us = wall_us();
}

void stream_position(const struct stream *s, struct position *ret)
{
	*ret = (struct position){ .stream_id = s->id,
				  .from = s->told ? s->at.position : 0,
				  .to = s->at.position,
				  .begins = !s->told,
				  .finished = stream_ended(s),
				  .tells_lost = s->loss.told,
				  .source = SOURCE_TAIL };
	memcpy(ret->path, s->place.log_path, sizeof ret->path);
	memcpy(ret->file_id, s->file.file_id, sizeof ret->file_id);
	head_print(&s->at.head, ret->head_hash, sizeof ret->head_hash);
	fingerprint_print(s->at.tail, s->at.tail_len, ret->tail_hash, sizeof ret->tail_hash);
}

int64_t stream_lag_bytes(const struct stream *s)
{
	return stream_text_size(s) > s->at.committed ? stream_text_size(s) - s->at.committed : 0;
}

int64_t stream_lag_us(const struct stream *s, int64_t now_us)
{
	return stream_lag_bytes(s) && s->lag.since_us ? now_us - s->lag.since_us : 0;
}

bool stream_was_whole_here(const struct stream *s)
{
	return !s->place.unproven && s->at.position >= s->seen.held;
}

bool stream_is_read_whole(const struct stream *s)
{
	return !s->dirty && !s->place.moved && s->at.position == stream_text_size(s);
}
