#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "timestamp.h"

enum { FILE_MODE = 0640, FLAGS = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY };

static const int64_t SECOND = 1000000, TRY_AGAIN = 100;

enum kind { REGULAR, OTHER, PIPE, SOCKET };

struct file {
	int fd;
	atomic_int kind;
	char *path;                     /* NULL: the caller gave a descriptor and closes it */
	int no_follow;                  /* O_NOFOLLOW or 0 */
	bool limited;                   /* by RLIMIT_FSIZE: a write beyond it raises a signal */
	atomic_bool torn;               /* the file ends in the middle of a line */
	atomic_bool failed;             /* a write failed; then other processes may have torn a line, too */
	atomic_bool gone;               /* the file was removed, and another cannot be created */
	uint64_t rotate_bytes;
	int64_t rotate_us;
	unsigned rotate_keep;
	char *from, *to;                /* two names, each of name_size bytes */
	size_t name_size;
	_Atomic int64_t next_look, next_try;    /* when to check for a rename; when to try to rotate */
	_Atomic int64_t period;         /* number of the rotate_us period that the file belongs to */
	_Atomic uint64_t size;          /* last known size */
	_Atomic uint64_t device, inode;
	atomic_int changing;            /* id of the process that opens or renames now, see enter() */
	atomic_uint asked;              /* pending requests to reopen, see logcore_file_reopen() */
};

static int open_log(const struct file *f)
{
	return open(f->path, FLAGS | O_CREAT | f->no_follow, FILE_MODE);
}

static enum kind kind_of(const struct stat *st)
{
	if (S_ISREG(st->st_mode))
		return REGULAR;
	return S_ISFIFO(st->st_mode) ? PIPE : S_ISSOCK(st->st_mode) ? SOCKET : OTHER;
}

static int64_t period_of(const struct file *f, int64_t us)
{
	return f->rotate_us ? us / f->rotate_us : 0;
}

/* The size of a file that ends within a line; 0 if it does not. */
static off_t torn_at(int fd)
{
	struct stat st;
	char last = '\n';

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0 ||
	    pread(fd, &last, 1, st.st_size - 1) != 1 || last == '\n')
		return 0;
	return st.st_size;
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/*
 * Whether a process that was killed or found the disk full left the beginning of a line. A
 * line that is just being written looks the same. So write zero bytes, which waits, as every
 * write(2) to a local file does, until earlier writes have ended; then look again.
 */
static bool ends_torn(const struct file *f)
{
	int fd = f->path ? open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	off_t at = fd >= 0 && same_file(fd, f->fd) ? torn_at(fd) : 0;

	if (at && (pwrite(f->fd, "", 0, 0) < 0 || torn_at(fd) != at))
		at = 0;
	if (fd >= 0)
		close(fd);
	return at != 0;
}

/* Record which file is open. A file with lines belongs to the period of its last line. */
static void know(struct file *f, int64_t now_us)
{
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		return;
	atomic_store(&f->kind, (int)kind_of(&st));
	atomic_store(&f->device, st.st_dev);
	atomic_store(&f->inode, st.st_ino);
	atomic_store(&f->size, (uint64_t)st.st_size);
	atomic_store(&f->period, period_of(f, st.st_size ? st.st_mtim.tv_sec * SECOND : now_us));
	atomic_store(&f->torn, st.st_size > 0 && ends_torn(f));
}

/* Store the path, and space for the names of rotated files, in one allocation. The path is
 * absolute, because a program may change its folder. */
static bool set_path(struct file *f, const char *path)
{
	char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
	size_t size = (here ? strlen(here) + 1 : 0) + strlen(path) + sizeof ".4294967295";

	f->path = malloc(3 * size);
	if (f->path)
		snprintf(f->path, size, "%s%s%s", here ? here : "", here ? "/" : "", path);
	free(here);
	if (!f->path)
		return false;
	f->from = f->path + size;
	f->to = f->from + size;
	f->name_size = size;
	return true;
}

struct file *logcore_file_open(const struct file_options *o, int *ret_error)
{
	struct file *f = calloc(1, sizeof *f);
	struct rlimit limit;

	if (!f || (o->path && !set_path(f, o->path))) {
		free(f);
		*ret_error = ENOMEM;
		return NULL;
	}
	f->no_follow = o->no_follow ? O_NOFOLLOW : 0;
	f->limited = getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
	f->rotate_bytes = o->rotate_bytes;
	f->rotate_us = o->rotate_seconds * SECOND;
	f->rotate_keep = o->rotate_keep;
	f->fd = f->path ? open_log(f) : o->fd;
	if (f->fd < 0 || fcntl(f->fd, F_GETFD) < 0) {
		*ret_error = errno;
		free(f->path);
		free(f);
		return NULL;
	}
	know(f, logcore_wall_us());
	atomic_store(&f->next_look, logcore_wall_us() + SECOND);
	return f;
}

void logcore_file_close(struct file *f)
{
	if (f->path)
		close(f->fd);
	free(f->path);
	free(f);
}

const char *logcore_file_path(const struct file *f)
{
	return f->path && atomic_load(&f->kind) == REGULAR ? f->path : NULL;
}

bool logcore_file_place(const struct file *f, struct file_place *ret)
{
	struct stat st;

	if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	*ret = (struct file_place){ st.st_dev, st.st_ino, (uint64_t)st.st_size };
	return true;
}

/* ---- another file under the path --------------------------------------------------- */

/* dup3() replaces the old file by the new one atomically. */
static int open_again(struct file *f, int64_t now_us)
{
	int fd = open_log(f), result = 0;

	if (fd < 0)
		return -errno;
	if (dup3(fd, f->fd, O_CLOEXEC) < 0)
		result = -errno;
	else
		know(f, now_us);
	close(fd);
	return result;
}

/* One thread at a time. The mark is a process id, so that a child that was forked meanwhile can enter. */
static bool enter(struct file *f)
{
	int mine = getpid(), was = 0;

	return atomic_compare_exchange_strong(&f->changing, &was, mine) ||
	       (was != mine && atomic_compare_exchange_strong(&f->changing, &was, mine));
}

static void leave(struct file *f)
{
	atomic_store(&f->changing, 0);
}

/* A signal handler may interrupt its own thread here. So a caller that cannot enter does not
 * wait: it leaves its request in `asked`, and the thread inside opens the file again. */
int logcore_file_reopen(struct file *f)
{
	int result = 0, cancel;

	if (!f->path)
		return 0;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	atomic_fetch_add(&f->asked, 1);
	while (atomic_load(&f->asked) && enter(f)) {
		if (atomic_exchange(&f->asked, 0))
			result = open_again(f, logcore_wall_us());
		leave(f);
	}
	pthread_setcancelstate(cancel, NULL);
	return result;
}

static bool still_there(const struct file *f, struct stat *ret)
{
	return stat(f->path, ret) == 0 && ret->st_dev == atomic_load(&f->device) &&
	       ret->st_ino == atomic_load(&f->inode);
}

/* Rename app.log.2 to app.log.3 and so on; the last file is replaced. Starts at the end, so
 * that a process killed meanwhile only leaves a gap in the numbers. */
static int shift(struct file *f)
{
	for (unsigned i = f->rotate_keep; i > 0; i--) {
		snprintf(f->to, f->name_size, "%s.%u", f->path, i);
		snprintf(f->from, f->name_size, i > 1 ? "%s.%u" : "%s", f->path, i - 1);
		if (rename(f->from, f->to) < 0 && (i == 1 || errno != ENOENT))
			return -errno;
	}
	return 0;
}

/* Rename the open file, unless another process did. The lock needs a descriptor opened here,
 * since a forked process shares the open file description of the log. */
static void rotate(struct file *f, int64_t now_us)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	bool locked, moved;

	if (fd < 0)
		return;
	locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
	moved = !still_there(f, &st);
	/* The holder of the lock rotates, or only reads the file: do not try at each line. */
	if (!locked)
		atomic_store(&f->next_try, now_us + TRY_AGAIN);
	if (!moved && locked) {
		moved = st.st_size > 0 && shift(f) == 0;
		/* Keep an empty file for another period; do not try to rename a file again
		 * at each line. */
		atomic_store(&f->size, 0);
		atomic_store(&f->period, period_of(f, now_us));
	}
	if (moved)
		open_again(f, now_us);
	close(fd);
}

/* At most a second ahead: a clock that was set back must not delay the moment. */
static bool in_future(const _Atomic int64_t *moment, int64_t now_us)
{
	int64_t left = atomic_load_explicit(moment, memory_order_relaxed) - now_us;

	return left > 0 && left <= SECOND;
}

static bool is_due(const struct file *f, uint64_t n, int64_t now_us)
{
	uint64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);

	if ((!f->rotate_bytes || !size || size + n <= f->rotate_bytes) &&
	    (!f->rotate_us || period_of(f, now_us) <= atomic_load_explicit(&f->period, memory_order_relaxed)))
		return false;
	return !in_future(&f->next_try, now_us);
}

static bool has_no_name(const struct file *f)
{
	struct stat st;

	return fstat(f->fd, &st) == 0 && st.st_nlink == 0;
}

/* Once a second: check whether the file was renamed, and how large other processes made it. */
static void look(struct file *f, int64_t now_us)
{
	struct stat st;

	atomic_store(&f->next_look, now_us + SECOND);
	if (!still_there(f, &st))
		atomic_store(&f->gone, open_again(f, now_us) < 0 && has_no_name(f));
	else if (f->rotate_bytes)
		atomic_store(&f->size, (uint64_t)st.st_size);
}

__attribute__((cold, noinline)) static void look_or_rotate(struct file *f, size_t n, int64_t now_us,
							   bool again)
{
	int saved = errno, cancel;

	if (!enter(f))
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	if (again)
		look(f, now_us);
	if (is_due(f, n, now_us))
		rotate(f, now_us);
	leave(f);
	pthread_setcancelstate(cancel, NULL);
	if (atomic_load(&f->asked))
		logcore_file_reopen(f);
	errno = saved;
}

static inline void follow(struct file *f, size_t n, int64_t now_us)
{
	bool again = !in_future(&f->next_look, now_us);

	if (again || is_due(f, n, now_us))
		look_or_rotate(f, n, now_us, again);
}

/* ---- writing ------------------------------------------------------------------------ */

/* A pipe without a reader, or a limit, must not end the program, nor run its handler: block
 * the signal for this thread, then remove it from the pending ones. */
static ssize_t write_without(int signal, int reason, int fd, const char *bytes, size_t n)
{
	static const struct timespec now = { 0, 0 };
	sigset_t one, old;
	ssize_t done;
	int error;

	sigemptyset(&one);
	sigaddset(&one, signal);
	pthread_sigmask(SIG_BLOCK, &one, &old);
	done = write(fd, bytes, n);
	error = errno;
	if (done < 0 && error == reason && !sigismember(&old, signal))
		sigtimedwait(&one, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = error;
	return done;
}

static ssize_t write_once(const struct file *f, const char *bytes, size_t n)
{
	switch (atomic_load_explicit(&f->kind, memory_order_relaxed)) {
	case PIPE:
		return write_without(SIGPIPE, EPIPE, f->fd, bytes, n);
	case SOCKET:
		return send(f->fd, bytes, n, MSG_NOSIGNAL);
	default:
		return f->limited ? write_without(SIGXFSZ, EFBIG, f->fd, bytes, n) : write(f->fd, bytes, n);
	}
}

/* Other processes write to the file, too: ask for its size now and then. */
__attribute__((cold, noinline)) static void grow(struct file *f, size_t n)
{
	enum { ASKS = 16 };             /* how often until the file is rotated */
	uint64_t step = f->rotate_bytes / ASKS;
	uint64_t was = atomic_fetch_add_explicit(&f->size, n, memory_order_relaxed);
	struct stat st;

	if (was / step != (was + n) / step && fstat(f->fd, &st) == 0)
		atomic_store_explicit(&f->size, (uint64_t)st.st_size, memory_order_relaxed);
}

/*
 * A regular file takes all bytes unless the disk becomes full; a pipe or a stream socket may
 * take a part. Try the rest at once.
 */
static size_t write_all(struct file *f, const char *bytes, size_t n, int *ret_error)
{
	size_t done = 0;

	while (done < n) {
		ssize_t w = write_once(f, bytes + done, n - done);

		if (w > 0) {
			done += (size_t)w;
		} else if (w == 0 || errno != EINTR) {
			*ret_error = w == 0 ? EIO : errno;
			break;
		}
	}
	return done;
}

/* End a torn line, so that the next line is whole. */
__attribute__((cold, noinline)) static bool end_torn(struct file *f, int *ret_error)
{
	bool torn = atomic_exchange(&f->torn, false);

	if (atomic_exchange(&f->failed, false))
		torn |= ends_torn(f);
	if (!torn || write_all(f, "\n", 1, ret_error) == 1)
		return true;
	atomic_store(&f->torn, true);
	atomic_store(&f->failed, true);
	return false;
}

size_t logcore_file_write(struct file *f, const char *bytes, size_t n, int64_t now_us, int *ret_error)
{
	size_t done;

	if (f->path)
		follow(f, n, now_us);
	if (atomic_load_explicit(&f->gone, memory_order_relaxed)) {
		*ret_error = ENOENT;    /* lines in a file without a name would be lost */
		return 0;
	}
	if ((atomic_load_explicit(&f->torn, memory_order_relaxed) ||
	     atomic_load_explicit(&f->failed, memory_order_relaxed)) &&
	    !end_torn(f, ret_error))
		return 0;
	done = write_all(f, bytes, n, ret_error);
	if (done < n) {
		atomic_store(&f->failed, true);
		if (done > 0 && bytes[done - 1] != '\n')
			atomic_store(&f->torn, true);
	}
	if (f->rotate_bytes)
		grow(f, done);
	return done;
}

bool logcore_file_complete(struct file *f, const struct file_place *end, const char *rest, size_t n)
{
	struct file_place now;
	int error;

	if (!logcore_file_place(f, &now) || now.device != end->device || now.inode != end->inode ||
	    now.at != end->at || write_all(f, rest, n, &error) < n)
		return false;
	atomic_store(&f->torn, false);
	return true;
}
