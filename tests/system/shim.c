/*
 * shim.c - preloaded into the agent: calls of the C library that fail, do half of their work, or lie
 * about the time.
 *
 *   SHIM_MALLOC=FROM:COUNT   allocations number FROM to FROM + COUNT - 1 of the process fail
 *   SHIM_SHORT=N             each N-th pread(), write(), pwritev(), send() and recv() handles half of
 *                            the bytes
 *   SHIM_CLOCK=FILE          the wall clock is ahead by the number of seconds that FILE holds (8 bytes),
 *                            which may change at any moment; (libfaketime would shift monotonic timers too)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

/* ---- memory ---- */

static uint64_t allocations, fail_from = UINT64_MAX, fail_count;

/* Without a constructor: others' constructors allocate before ours would run. */
static void read_range(void)
{
	const char *text = getenv("SHIM_MALLOC");
	char *end;

	fail_from = text ? strtoull(text, &end, 10) : 0;
	fail_count = text && *end == ':' ? strtoull(end + 1, NULL, 10) : 0;
}

static int refuse(void)
{
	uint64_t n = __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);

	if (fail_from == UINT64_MAX)
		read_range();
	if (n < fail_from || n - fail_from >= fail_count)
		return 0;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t n)
{
	return refuse() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return refuse() ? NULL : __libc_realloc(p, n);
}

/* ---- half the work ---- */

static size_t halve(size_t n)
{
	static uint64_t calls, every = UINT64_MAX;
	const char *text;

	if (every == UINT64_MAX)
		every = (text = getenv("SHIM_SHORT")) ? strtoull(text, NULL, 10) : 0;
	return every && n > 1 && __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) % every == 0 ? n / 2 : n;
}

#define REAL(f) ((__typeof__(&f))dlsym(RTLD_NEXT, #f))

ssize_t pread(int fd, void *to, size_t n, off_t at)
{
	return REAL(pread)(fd, to, halve(n), at);
}

ssize_t pread64(int fd, void *to, size_t n, off64_t at)
{
	return REAL(pread64)(fd, to, halve(n), at);
}

ssize_t write(int fd, const void *from, size_t n)
{
	return REAL(write)(fd, from, halve(n));
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	struct iovec half = { v->iov_base, halve(v->iov_len) };

	return half.iov_len < v->iov_len ? REAL(pwritev)(fd, &half, 1, at) : REAL(pwritev)(fd, v, n, at);
}

ssize_t send(int fd, const void *from, size_t n, int flags)
{
	return REAL(send)(fd, from, halve(n), flags);
}

ssize_t recv(int fd, void *to, size_t n, int flags)
{
	return REAL(recv)(fd, to, halve(n), flags);
}

/* ---- another time ---- */

static int64_t ahead_s(void)
{
	static const int64_t none, *ahead;
	const char *path = getenv("SHIM_CLOCK");
	int fd;

	if (!ahead) {
		fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		ahead = fd < 0 ? &none : mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
		if (fd >= 0)
			close(fd);
	}
	return *(const volatile int64_t *)ahead;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = REAL(clock_gettime)(id, ts);

	if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		ts->tv_sec += ahead_s();
	return r;
}

time_t time(time_t *to)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (to)
		*to = ts.tv_sec;
	return ts.tv_sec;
}
