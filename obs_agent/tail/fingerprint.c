#include "fingerprint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/hash.h"

/* 16 bits of a hash, with something of all of it. */
static uint16_t fold(uint64_t h)
{
	return (uint16_t)(h ^ h >> 16 ^ h >> 32 ^ h >> 48);
}

uint64_t fingerprint_hash(const char *s, size_t n)
{
	return hash_bytes(HASH_START, s, n);
}

void head_add(struct head *h, const char *bytes, size_t n)
{
	if (h->len == 0)
		h->hash = HASH_START;
	for (size_t i = 0; i < n && h->len < HEAD_MAX; i++) {
		h->hash = hash_bytes(h->hash, &bytes[i], 1);
		h->len++;
		for (int k = 0; k < HEAD_PARTS; k++)
			if (h->len == 1U << k)
				h->part[k] = fold(h->hash);
	}
}

void head_print(const struct head *h, char *out, size_t size)
{
	int n = h->len ? snprintf(out, size, "%" PRIu32 ":%016" PRIx64 "%s", h->len, h->hash,
				  h->without_parts ? "" : ":")
		       : 0;

	if (n <= 0)
		out[0] = '\0';
	for (int k = 0; k < HEAD_PARTS && 1U << k <= h->len && !h->without_parts && n > 0 && (size_t)n < size;
	     k++)
		n += snprintf(out + n, size - (size_t)n, "%04x", h->part[k]);
}

/* Four hexadecimal digits. */
static bool parse_part(const char *text, uint16_t *ret)
{
	char digits[5] = "", *end;

	if (strlen(text) < 4)
		return false;
	memcpy(digits, text, 4);
	*ret = (uint16_t)strtoul(digits, &end, 16);
	return *end == '\0';
}

void head_parse(struct head *h, const char *text)
{
	char *at;
	unsigned long len = strtoul(text, &at, 10);

	*h = (struct head){ 0 };
	if (len == 0 || len > HEAD_MAX || *at != ':')
		return;
	h->hash = strtoull(at + 1, &at, 16);
	h->len = (uint32_t)len;
	h->without_parts = *at != ':';
	for (int k = 0; k < HEAD_PARTS && 1U << k <= h->len && !h->without_parts; k++)
		h->without_parts = !parse_part(at + 1 + 4 * (size_t)k, &h->part[k]);
}

bool head_fits(const struct head *h, const char *bytes, size_t n)
{
	struct head now = { 0 };

	if (n == 0 || h->len == 0 || (n < h->len && h->without_parts))
		return false;
	head_add(&now, bytes, n < h->len ? n : h->len);
	if (n >= h->len)
		return now.hash == h->hash;
	for (int k = 0; k < HEAD_PARTS && 1U << k <= n; k++)
		if (now.part[k] != h->part[k])
			return false;
	return true;
}

void fingerprint_print(const char *s, size_t n, char *out, size_t size)
{
	if (n)
		snprintf(out, size, "%zu:%016" PRIx64, n, fingerprint_hash(s, n));
	else
		out[0] = '\0';
}

bool fingerprint_holds(int fd, int64_t end, const char *text)
{
	char bytes[HEAD_MAX], now[40], *colon;
	unsigned long n = strtoul(text, &colon, 10);
	ssize_t got;

	if (*text == '\0')
		return true;            /* nothing was known: no objection */
	if (*colon != ':' || n > sizeof bytes || (int64_t)n > end)
		return false;
	got = file_read_at(fd, bytes, n, end - (int64_t)n);
	if (got < 0)
		return true;
	fingerprint_print(bytes, (size_t)got, now, sizeof now);
	return strcmp(now, text) == 0;
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

bool file_same_bytes(int a, int b, size_t n, int64_t offset)
{
	char x[HEAD_MAX], y[HEAD_MAX];

	return file_read_at(a, x, n, offset) == (ssize_t)n && file_read_at(b, y, n, offset) == (ssize_t)n &&
	       memcmp(x, y, n) == 0;
}
