#include "ring_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGITS = 16, FILE_MODE = 0600, LOG_NAME_MAX = 255 - DIGITS - (int)sizeof "...held.new" };

static const char MAGIC[16] = "logcore held 1\n";
static const char SUFFIX[] = ".held";

/* At the start of the file. */
struct header {
	char magic[16];
	uint64_t page, ring_size;
};

static off_t offset_of(const struct ring_file *h, unsigned ring)
{
	return (off_t)(h->page + ring * (h->page + h->ring_size));
}

/* ---- making one ------------------------------------------------------------------- */

static int lock(int fd)
{
	struct flock first = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 }, second = first;

	second.l_start = 1;
	return fcntl(fd, F_OFD_SETLK, &second) < 0 || fcntl(fd, F_SETLK, &first) < 0 ? -errno : 0;
}

/* New random digits. */
static int set_name(struct ring_file *h)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char random[DIGITS / 2];
	char *digits = h->path + strlen(h->path) - (sizeof SUFFIX - 1) - DIGITS;

	if (getrandom(random, sizeof random, GRND_NONBLOCK) != sizeof random)
		return -EAGAIN;
	for (size_t i = 0; i < DIGITS; i++)
		digits[i] = hex[random[i / 2] >> (i % 2 * 4) & 15];
	return 0;
}

static int make_path(struct ring_file *h, const char *log_path)
{
	const char *slash = strrchr(log_path, '/'), *name = slash ? slash + 1 : log_path;
	int folder = (int)(name - log_path);

	if (strlen(name) > LOG_NAME_MAX)
		return -ENAMETOOLONG;
	if (asprintf(&h->path, "%.*s.%s.%0*d%s", folder, log_path, name, DIGITS, 0, SUFFIX) < 0) {
		h->path = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* A program that closes all descriptors closes this one too, and its number may belong to
 * another file now. */
static bool is_open(const struct ring_file *h)
{
	struct stat st;

	return h->fd >= 0 && fstat(h->fd, &st) == 0 && st.st_dev == h->device && st.st_ino == h->inode;
}

static void close_file(struct ring_file *h)
{
	if (is_open(h))
		close(h->fd);
	h->fd = -1;
}

/* On a file system that copies on write (btrfs), writing a page must not need new space. */
static void write_in_place(int fd)
{
	int flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		flags |= FS_NOCOW_FL;
		ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
}

static int fill(struct ring_file *h)
{
	struct header header = { .page = h->page, .ring_size = h->ring_size };
	struct stat st;

	memcpy(header.magic, MAGIC, sizeof header.magic);
	if (pwrite(h->fd, &header, sizeof header, 0) != sizeof header || fstat(h->fd, &st) < 0)
		return -EIO;
	h->device = st.st_dev;
	h->inode = st.st_ino;
	return 0;
}

/* The file has another name until it is locked, so that no process takes it over before. */
static int make_file(struct ring_file *h)
{
	char new[4096];
	int r = set_name(h);

	if (r < 0 || snprintf(new, sizeof new, "%s.new", h->path) >= (int)sizeof new)
		return r < 0 ? r : -ENAMETOOLONG;
	h->fd = open(new, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
	if (h->fd < 0)
		return -errno;
	write_in_place(h->fd);
	r = lock(h->fd);
	if (r == 0)
		r = fill(h);
	if (r < 0) {
		unlink(new);
		close(h->fd);
		h->fd = -1;
	}
	return r;
}

void logcore_ring_file_publish(struct ring_file *h)
{
	char new[4096];

	if (!h->path || !h->path[0])
		return;
	snprintf(new, sizeof new, "%s.new", h->path);
	if (rename(new, h->path) < 0) {
		unlink(new);
		h->path[0] = '\0';
	}
}

void logcore_ring_file_forget(struct ring_file *h)
{
	close_file(h);
}

static int make_memory(struct ring_file *h)
{
	if (h->path)
		h->path[0] = '\0';
	h->fd = memfd_create("logcore", MFD_CLOEXEC);
	return h->fd < 0 ? -errno : fill(h);
}

int logcore_ring_file_open(struct ring_file *h, const char *log_path, size_t ring_size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	*h = (struct ring_file){ .fd = -1, .page = page, .ring_size = (ring_size + page - 1) / page * page };
	if (log_path && make_path(h, log_path) == 0 && make_file(h) == 0)
		return 0;
	return make_memory(h);
}

int logcore_ring_file_again(struct ring_file *h)
{
	close_file(h);
	h->rings = 0;
	if (h->path && h->path[0] && make_file(h) == 0)
		return 0;
	return make_memory(h);
}

/* Touch each page now, so that no later line has to wait for a page fault. */
static void warm(struct ring *r)
{
	for (size_t i = 0; i < 2 * r->size; i += r->page)
		*(volatile char *)(r->data + i) = 0;
}

int logcore_ring_file_add(struct ring_file *h, struct ring *ret)
{
	off_t offset = offset_of(h, h->rings), end = offset + (off_t)(h->page + h->ring_size);
	struct rlimit limit;
	int r;

	if (h->rings == RING_FILE_RINGS_MAX || !is_open(h))
		return -ENOSPC;
	/* Beyond the limit the kernel would send a signal that ends the program. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    (rlim_t)end > limit.rlim_cur)
		return -EFBIG;
	r = posix_fallocate(h->fd, offset, (off_t)(h->page + h->ring_size));
	if (r == 0)
		r = -logcore_ring_map(ret, h->fd, offset, h->page, h->ring_size);
	if (r == 0) {
		warm(ret);
		h->rings++;
	}
	return -r;
}

void logcore_ring_file_close(struct ring_file *h, bool keep)
{
	if (h->path && h->path[0] && !keep)
		unlink(h->path);
	close_file(h);
	free(h->path);
	*h = (struct ring_file){ .fd = -1 };
}

/* ---- files of dead processes ------------------------------------------------------------ */

enum ring_file_kind logcore_ring_file_kind(const char *name, const char *log_name)
{
	size_t n = strlen(log_name);
	const char *end;

	if (name[0] != '.' || strncmp(name + 1, log_name, n) != 0 || name[n + 1] != '.' ||
	    strspn(name + n + 2, "0123456789abcdef") != DIGITS)
		return NO_RING_FILE;
	end = name + n + 2 + DIGITS;
	if (strcmp(end, SUFFIX) == 0)
		return RING_FILE;
	return strcmp(end, ".held.new") == 0 ? UNFINISHED_RING_FILE : NO_RING_FILE;
}

/* Check that the file is as long as its header says, so that no mapped page is missing. */
static int read_header(struct ring_file *h, const struct stat *st)
{
	enum { RING_MAX = 1 << 30 };
	struct header header;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (pread(h->fd, &header, sizeof header, 0) != sizeof header ||
	    memcmp(header.magic, MAGIC, sizeof MAGIC) != 0 || header.page != page || header.ring_size == 0 ||
	    header.ring_size % page || header.ring_size > RING_MAX)
		return -EINVAL;
	h->page = page;
	h->ring_size = header.ring_size;
	if (st->st_size > (off_t)page)
		h->rings = (unsigned)((uint64_t)(st->st_size - (off_t)page) / (page + h->ring_size));
	return h->rings <= RING_FILE_RINGS_MAX ? 0 : -EINVAL;
}

int logcore_ring_file_take(struct ring_file *h, int folder, const char *name)
{
	struct stat st = { 0 };
	int r;

	*h = (struct ring_file){ .fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK) };
	if (h->fd < 0)
		return -errno;
	r = lock(h->fd);
	/* The previous holder of the lock may have written and removed the file. */
	if (r == 0 &&
	    (fstat(h->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != geteuid()))
		r = -EINVAL;
	h->device = st.st_dev;
	h->inode = st.st_ino;
	if (r == 0)
		r = read_header(h, &st);
	if (r < 0) {
		close(h->fd);
		h->fd = -1;
	}
	return r == -EACCES ? -EAGAIN : r;
}

int logcore_ring_file_map(const struct ring_file *h, unsigned number, struct ring *ret)
{
	int r = logcore_ring_map(ret, h->fd, offset_of(h, number), h->page, h->ring_size);

	if (r < 0)
		return r;
	if (atomic_load(&ret->state->head) - atomic_load(&ret->state->tail) > ret->size) {
		logcore_ring_unmap(ret);
		return -EINVAL;
	}
	return 0;
}
