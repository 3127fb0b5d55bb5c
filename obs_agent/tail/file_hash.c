#include "file_hash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t fnv1a(const char *s, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
	return h;
}

ssize_t file_read_at(int fd, char *to, size_t n, int64_t offset)
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

bool file_hash(int fd, int64_t end, size_t n, char *out, size_t size)
{
	char bytes[FILE_HASH_MAX];
	ssize_t got = file_read_at(fd, bytes, n, end - (int64_t)n);

	out[0] = '\0';
	if (got == (ssize_t)n)
		snprintf(out, size, "%zu:%016" PRIx64, n, fnv1a(bytes, n));
	return got >= 0;
}

bool file_hash_holds(int fd, int64_t end, const char *hash)
{
	char now[40], *colon;
	unsigned long n = strtoul(hash, &colon, 10);

	if (*hash == '\0')
		return true;            /* nothing was known: no objection */
	if (*colon != ':' || n > FILE_HASH_MAX || (end && (int64_t)n > end))
		return false;
	return !file_hash(fd, end ? end : (int64_t)n, n, now, sizeof now) || strcmp(now, hash) == 0;
}

bool file_same_bytes(int a, int b, size_t n, int64_t offset)
{
	char x[FILE_HASH_MAX], y[FILE_HASH_MAX];

	return file_read_at(a, x, n, offset) == (ssize_t)n && file_read_at(b, y, n, offset) == (ssize_t)n && memcmp(x, y, n) == 0;
}
