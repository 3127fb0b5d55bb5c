#include "outbox_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/read.h"
#include "wire/row_json.h"

enum {
	NAME_SIZE = 80,
	SEARCH_EFFORT = 16,             /* bytes that a search may checksum, per byte of the file */
};

#define PREFIX "outbox"

static const uint16_t MAGIC = 0x4f52;

/* In the machine's byte order: the file never leaves the machine. */
struct head {
	uint32_t crc;                   /* of the rest of the head, and of the row */
	uint32_t len;                   /* of the row */
	int64_t timestamp_us;
	uint32_t lost;
	uint16_t magic;
	uint8_t kind;                   /* enum sample_kind */
	uint8_t late;
};
_Static_assert(sizeof(struct head) == 24, "no padding");

enum { FILE_MAX = SEGMENT_BYTES + RECORD_ROW_MAX + sizeof(struct head) };

/* CRC-32C (Castagnoli), reflected, half a byte at a time. */
static uint32_t crc32c(uint32_t crc, const void *bytes, size_t n)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	const unsigned char *p = bytes;

	crc = ~crc;
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

static uint32_t checksum(const struct head *h, const char *row)
{
	const size_t skip = sizeof h->crc;

	return crc32c(crc32c(0, (const char *)h + skip, sizeof *h - skip), row, h->len);
}

/* ---- files ---- */

static void name_of(const struct outbox_segment *s, char out[NAME_SIZE])
{
	snprintf(out, NAME_SIZE, PREFIX "-%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64, (uint64_t)s->started_us,
		 (uint64_t)s->stream_id, (uint64_t)s->base);
}

static struct outbox_segment *new_segment(int64_t started_us, int64_t stream_id, int64_t base)
{
	struct outbox_segment *s = calloc(1, sizeof *s);

	if (s)
		*s = (struct outbox_segment){
			.fd = -1, .started_us = started_us, .stream_id = stream_id, .base = base, .end = base
		};
	return s;
}

int outbox_segment_open_folder(const char *path)
{
	CLEANUP(close_p) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int outbox_segment_create(int folder, int64_t started_us, int64_t stream_id, int64_t base,
			  struct outbox_segment **ret)
{
	struct outbox_segment *s = new_segment(started_us, stream_id, base);
	char name[NAME_SIZE];

	if (!s)
		return -ENOMEM;
	s->in_memory = folder < 0;
	name_of(s, name);
	s->fd = s->in_memory ? memfd_create("outbox", MFD_CLOEXEC)
			     : openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->fd < 0) {
		int r = -errno;

		outbox_segment_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* "-" and sixteen digits. */
static bool take_hex(const char **at, int64_t *ret)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t v = 0;

	if (*(*at)++ != '-')
		return false;
	for (int i = 0; i < 16; i++) {
		const char *digit = **at ? strchr(digits, **at) : NULL;

		if (!digit)
			return false;
		v = v << 4 | (uint64_t)(digit - digits);
		++*at;
	}
	*ret = (int64_t)v;
	return v <= INT64_MAX / 2;
}

int outbox_segment_load(int folder, const char *name, struct outbox_segment **ret)
{
	const char *at = name + strlen(PREFIX);
	int64_t started_us, stream_id, base;
	struct outbox_segment *s;
	struct stat st;

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 || !take_hex(&at, &started_us) ||
	    !take_hex(&at, &stream_id) || !take_hex(&at, &base) || *at)
		return -EINVAL;
	s = new_segment(started_us, stream_id, base);
	if (!s)
		return -ENOMEM;
	s->fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		int r = s->fd < 0 ? -errno : -EINVAL;

		outbox_segment_free(s);
		return r;
	}
	s->end = s->base + (st.st_size < FILE_MAX ? st.st_size : FILE_MAX);
	*ret = s;
	return 0;
}

void outbox_segment_free(struct outbox_segment *s)
{
	close_p(&s->fd);
	free(s);
}

void outbox_segment_give_up(int folder, struct outbox_segment *s)
{
	char name[NAME_SIZE];

	name_of(s, name);
	if (!s->in_memory && s->fd >= 0)
		unlinkat(folder, name, 0);
	close_p(&s->fd);
}

/* ---- writing ---- */

/* All of it or -errno. */
static int write_all(int fd, struct iovec *v, int n, off_t at)
{
	while (n > 0) {
		ssize_t done = pwritev(fd, v, n, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -ENOSPC;
		at += done;
		for (; n > 0 && (size_t)done >= v->iov_len; v++, n--)
			done -= (ssize_t)v->iov_len;
		if (n > 0) {
			v->iov_base = (char *)v->iov_base + done;
			v->iov_len -= (size_t)done;
		}
	}
	return 0;
}

int outbox_segment_append(struct outbox_segment *s, const struct record *r, uint32_t lost)
{
	struct head h = { .len = (uint32_t)r->row.len, .timestamp_us = r->timestamp_us, .lost = lost,
			  .magic = MAGIC, .kind = (uint8_t)r->kind, .late = r->late };
	struct iovec v[] = { { &h, sizeof h }, { (void *)r->row.s, r->row.len } };
	struct stat st;
	int error;

	if (r->row.len > RECORD_ROW_MAX)
		return -EFBIG;
	if (!s->in_memory && (fstat(s->fd, &st) < 0 || st.st_nlink == 0))
		return -ENOENT;                 /* without its name nobody would find it again */
	h.crc = checksum(&h, r->row.s);
	error = write_all(s->fd, v, 2, (off_t)(s->end - s->base));
	if (error < 0) {
		/* If this fails too, the next record overwrites it, or the checksum shows that it is
		 * damaged. */
		(void)!ftruncate(s->fd, (off_t)(s->end - s->base));
		return error;
	}
	s->end += (int64_t)(sizeof h + r->row.len);
	return 0;
}

/* ---- reading ---- */

static bool read_whole(int fd, void *to, size_t n, int64_t at)
{
	return read_all_at(fd, to, n, at) == (ssize_t)n;
}

static bool plausible(const struct head *h, int64_t left)
{
	return h->magic == MAGIC && h->len <= RECORD_ROW_MAX && (int64_t)(sizeof *h + h->len) <= left &&
	       h->kind < SAMPLE_KIND_COUNT && row_kinds[h->kind].kept && h->late <= 1;
}

static void give(struct outbox_segment_read *ret, const struct head *h, const char *row, int64_t position)
{
	ret->record = (struct record){ .kind = h->kind, .timestamp_us = h->timestamp_us, .late = h->late,
				       .row = { row, h->len } };
	ret->lost = h->lost;
	ret->at = position;
	ret->next = position + (int64_t)(sizeof *h + h->len);
}

/* Read the record that begins exactly here. */
static bool read_here(const struct outbox_segment *s, int64_t position, struct buf *scratch,
		      struct outbox_segment_read *ret)
{
	struct head h;
	char *row;

	buf_reset(scratch);
	if (!read_whole(s->fd, &h, sizeof h, position - s->base) || !plausible(&h, s->end - position))
		return false;
	row = buf_room(scratch, h.len + 1);        /* not NULL for an empty row */
	if (!row || !read_whole(s->fd, row, h.len, position - s->base + (int64_t)sizeof h) ||
	    checksum(&h, row) != h.crc)
		return false;
	scratch->len = h.len;
	give(ret, &h, row, position);
	return true;
}

/* Bytes are damaged: try each byte as the start of a record. */
static bool search(const struct outbox_segment *s, int64_t position, struct buf *scratch,
		   struct outbox_segment_read *ret)
{
	size_t n = (size_t)(s->end - position);
	CLEANUP(free_p) char *bytes = malloc(n);
	size_t effort = SEARCH_EFFORT * n;
	struct head h;

	if (!bytes || !read_whole(s->fd, bytes, n, position - s->base))
		return false;
	for (size_t at = 1; at + sizeof h <= n; at++) {
		memcpy(&h, bytes + at, sizeof h);
		if (!plausible(&h, (int64_t)(n - at)) || h.len > effort)
			continue;
		effort -= h.len;
		if (checksum(&h, bytes + at + sizeof h) == h.crc)
			return read_here(s, position + (int64_t)at, scratch, ret);
	}
	return false;
}

bool outbox_segment_read(const struct outbox_segment *s, int64_t position, struct buf *scratch,
			 struct outbox_segment_read *ret)
{
	bool found;

	if (position < s->base)
		position = s->base;
	*ret = (struct outbox_segment_read){ .next = s->end };
	if (position >= s->end)
		return false;
	found = read_here(s, position, scratch, ret) || search(s, position, scratch, ret);
	ret->skipped = (found ? ret->at : s->end) - position;
	return found;
}
