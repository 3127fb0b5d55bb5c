#include "read.h"

#include <errno.h>
#include <unistd.h>

enum { POSITION = -1 };                 /* as an offset: read at the descriptor's position */

static ssize_t read_once(int fd, char *to, size_t n, int64_t offset)
{
	return offset == POSITION ? read(fd, to, n) : pread(fd, to, n, (off_t)offset);
}

static ssize_t read_until(int fd, char *to, size_t max, int64_t offset)
{
	size_t got = 0;

	while (got < max) {
		int64_t at = offset == POSITION ? POSITION : offset + (int64_t)got;
		ssize_t n = read_once(fd, to + got, max - got, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

ssize_t read_all(int fd, void *to, size_t max)
{
	return read_until(fd, to, max, POSITION);
}

ssize_t read_all_at(int fd, void *to, size_t max, int64_t offset)
{
	return offset < 0 ? -EINVAL : read_until(fd, to, max, offset);
}
