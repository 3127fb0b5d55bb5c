#include "setup_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/read.h"

enum { BLOCK = 64 * 1024, PATH_SIZE = 1024 };

bool setup_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

int setup_read(const char *path, struct buf *out, struct err *e)
{
	CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : 1;
	char block[BLOCK];

	while (n > 0 && (n = read_all(fd, block, sizeof block)) > 0)
		if (!buf_add(out, block, (size_t)n))
			return err_set(e, EFBIG, "%s is larger than %zu bytes", path, out->max);
	return n < 0 ? err_set(e, (int)-n, "%s can't be read: %s", path, strerror((int)-n)) : 0;
}

int setup_write(const struct setup_file *f, struct text content, struct err *e)
{
	CLEANUP(close_p) int fd = -1;
	char temporary[PATH_SIZE];

	snprintf(temporary, sizeof temporary, "%s.new", f->path);
	unlink(temporary);
	errno = ENOSPC; /* of a write that is cut short */
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, content.s, content.len) != (ssize_t)content.len ||
	    fchown(fd, f->owner, f->group) < 0 || fchmod(fd, f->mode) < 0 || fsync(fd) < 0 ||
	    rename(temporary, f->path) < 0)
		return err_set(e, errno, "%s can't be written: %s", f->path, strerror(errno));
	return 0;
}

int setup_folder(const char *path, struct err *e)
{
	char part[PATH_SIZE];
	size_t n = 0;

	do {
		n += 1 + strcspn(path + n + 1, "/");
		snprintf(part, sizeof part, "%.*s", (int)n, path);
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return err_set(e, errno, "%s can't be made: %s", part, strerror(errno));
	} while (path[n]);
	return 0;
}
