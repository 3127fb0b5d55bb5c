#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

enum { FILE_MODE = 0640 };

enum kind { PLAIN, PIPE, SOCKET };

struct sink {
	int fd;
	enum kind kind;
	bool owned;
	char *path;                     /* NULL: a descriptor was given */
	atomic_bool torn;
	atomic_int error;
	_Atomic uint64_t lost;          /* process id << 32 | lines, see lose() */
	_Atomic uint64_t lines, bytes, dropped, truncated, failed;
};

static int open_log(const char *path)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, FILE_MODE);
}

static enum kind kind_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return PLAIN;
	return S_ISFIFO(st.st_mode) ? PIPE : S_ISSOCK(st.st_mode) ? SOCKET : PLAIN;
}

/* A locked addition costs several times a plain one; it is not needed while the
 * process has one thread. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
#if __has_include(<sys/single_threaded.h>)
	if (__libc_single_threaded) {
		uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

		atomic_store_explicit(counter, now + n, memory_order_relaxed);
		return;
	}
#endif
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

struct sink *logcore_sink_open(const char *path, int fd, int *ret_error)
{
	struct sink *s = calloc(1, sizeof *s);

	if (!s || (path && !(s->path = strdup(path)))) {
		free(s);
		*ret_error = ENOMEM;
		return NULL;
	}
	s->owned = path;
	s->fd = path ? open_log(path) : fd;
	if (s->fd < 0 || fcntl(s->fd, F_GETFD) < 0) {
		*ret_error = errno;
		free(s->path);
		free(s);
		return NULL;
	}
	s->kind = kind_of(s->fd);
	return s;
}

/* dup3() puts the new file in the old one's place at once: another thread's
 * write(2) goes to the one or to the other, whole. */
int logcore_sink_reopen(struct sink *s)
{
	int fd, result = 0;

	if (!s->path)
		return 0;
	fd = open_log(s->path);
	if (fd < 0)
		return -errno;
	if (dup3(fd, s->fd, O_CLOEXEC) < 0)
		result = -errno;
	close(fd);
	return result;
}

void logcore_sink_close(struct sink *s)
{
	if (s->owned)
		close(s->fd);
	free(s->path);
	free(s);
}

/* A reader that went away must not end the program, and what the program does
 * with SIGPIPE is its own: block the signal for this thread, take it back. */
static ssize_t write_pipe(int fd, const char *bytes, size_t n)
{
	static const struct timespec now = { 0, 0 };
	sigset_t pipe_set, old;
	ssize_t done;
	int error;

	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
	done = write(fd, bytes, n);
	error = errno;
	if (done < 0 && error == EPIPE && !sigismember(&old, SIGPIPE))
		sigtimedwait(&pipe_set, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = error;
	return done;
}

static ssize_t write_once(const struct sink *s, const char *bytes, size_t n)
{
	switch (s->kind) {
	case PIPE:
		return write_pipe(s->fd, bytes, n);
	case SOCKET:
		return send(s->fd, bytes, n, MSG_NOSIGNAL);
	default:
		return write(s->fd, bytes, n);
	}
}

/*
 * The process id travels with the count: after fork() both processes have the
 * number, but only the one that lost the lines may tell of them.
 */
static void lose(struct sink *s, uint32_t lines)
{
	uint64_t mine = (uint64_t)(uint32_t)getpid() << 32, old = atomic_load(&s->lost), new;

	do {
		uint64_t before = (old & ~(uint64_t)UINT32_MAX) == mine ? old & UINT32_MAX : 0;

		new = mine | (before + lines > UINT32_MAX ? UINT32_MAX : before + lines);
	} while (!atomic_compare_exchange_weak(&s->lost, &old, new));
}

void logcore_sink_lose(struct sink *s)
{
	add(&s->dropped, 1);
	lose(s, 1);
}

bool logcore_sink_lost(struct sink *s)
{
	return atomic_load_explicit(&s->lost, memory_order_relaxed) != 0;
}

struct lost logcore_sink_take_lost(struct sink *s)
{
	uint64_t lost = atomic_exchange(&s->lost, 0);
	bool mine = lost >> 32 == (uint32_t)getpid();

	return (struct lost){ mine ? (uint32_t)lost : 0, atomic_load(&s->error), atomic_exchange(&s->torn, false) };
}

void logcore_sink_give_back(struct sink *s, struct lost lost)
{
	if (lost.torn)
		atomic_store(&s->torn, true);
	if (lost.lines)
		lose(s, lost.lines);
}

/*
 * A regular file takes a line whole, unless the disk becomes full in its midst;
 * a pipe or a stream socket may take a part. The rest is tried at once. If that
 * fails, the line is lost and the next one to be written begins with a newline,
 * so that only this one is broken.
 */
bool logcore_sink_write(struct sink *s, const char *line, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t w = write_once(s, line + done, n - done);

		if (w > 0) {
			done += (size_t)w;
		} else if (w == 0 || errno != EINTR) {
			atomic_store(&s->error, w == 0 ? EIO : errno);
			add(&s->failed, 1);
			if (done)
				atomic_store(&s->torn, true);
			return false;
		}
	}
	add(&s->lines, 1);
	add(&s->bytes, n);
	return true;
}

void logcore_sink_count_cut(struct sink *s)
{
	add(&s->truncated, 1);
}

void logcore_sink_stats(struct sink *s, struct logcore_counters *ret)
{
	*ret = (struct logcore_counters){
		.lines = atomic_load(&s->lines),
		.bytes = atomic_load(&s->bytes),
		.dropped = atomic_load(&s->dropped),
		.truncated = atomic_load(&s->truncated),
		.failed = atomic_load(&s->failed),
	};
}
