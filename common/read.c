#include "read.h"

#include <errno.h>
#include <unistd.h>

enum { WHERE_IT_STANDS = -1 };

static ssize_t read_until(int fd, char *to, size_t max, int64_t offset)
{
	size_t got = 0;

	while (got < max) {
		ssize_t n = offset == WHERE_IT_STANDS ? read(fd, to + got, max - got)
						      : pread(fd, to + got, max - got, (off_t)offset + (off_t)got);

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
	return read_until(fd, to, max, WHERE_IT_STANDS);
}

ssize_t read_all_at(int fd, void *to, size_t max, int64_t offset)
{
	return offset < 0 ? -EINVAL : read_until(fd, to, max, offset);
}
