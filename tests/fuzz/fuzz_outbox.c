/*
 * Any bytes as the files of an outbox: each record that is read has its checksum, all bytes are read or
 * counted, and an outbox that opens such files can deliver all of them.
 *
 * The input is a list of steps that make the files (see step): records as the agent appends them, and damage.
 */
#include <fcntl.h>
#include <assert.h>
#include <string.h>

#include "obs_agent/outbox/outbox.c"

enum { STEPS_MAX = 64, ROW_ROOM = 4096, HEAD = 24, ROUNDS_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder_name[64];

static void remove_files(void)
{
	CLEANUP(closedir_p) DIR *d = opendir(folder_name);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(d), entry->d_name, 0);
}

static void remove_folder(void)
{
	remove_files();
	rmdir(folder_name);
}

/* ---- files ---- */

struct input {
	const uint8_t *p, *end;
};

static uint8_t byte(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static struct text bytes(struct input *in)
{
	size_t n = byte(in), left = (size_t)(in->end - in->p);
	struct text t = { (const char *)in->p, n < left ? n : left };

	in->p += t.len;
	return t;
}

static void begin_file(int folder, struct outbox_segment **s, struct input *in)
{
	int64_t stream = 1 + byte(in) % 3, base = *s && (*s)->stream_id == stream ? (*s)->end : byte(in) * 16;

	if (*s)
		outbox_segment_free(*s);
	*s = NULL;
	if (outbox_segment_create(folder, 1000 + stream, stream, base, s) < 0)
		*s = NULL;                      /* there is one */
}

static void step(int folder, struct outbox_segment **s, struct input *in)
{
	uint8_t what = byte(in);
	struct record r;
	char flipped;
	off_t at;

	if (!*s || what % 8 == 0)
		begin_file(folder, s, in);
	if (!*s)
		return;
	switch (what % 8) {
	case 1:                                 /* any bytes */
		r.row = bytes(in);
		if (pwrite((*s)->fd, r.row.s, r.row.len, (*s)->end - (*s)->base) > 0)
			(*s)->end += (int64_t)r.row.len;
		break;
	case 2:                                 /* one bit */
		at = byte(in) * 8 + byte(in) % 8;
		if (at < (*s)->end - (*s)->base && pread((*s)->fd, &flipped, 1, at) == 1) {
			flipped = (char)(flipped ^ 1 << what / 8 % 8);
			(void)!pwrite((*s)->fd, &flipped, 1, at);
		}
		break;
	case 3:                                 /* a torn end */
		at = byte(in);
		(*s)->end -= at < (*s)->end - (*s)->base ? at : 0;
		(void)!ftruncate((*s)->fd, (*s)->end - (*s)->base);
		break;
	default:
		r = (struct record){ .kind = what / 8 % SAMPLE_LOG, .timestamp_us = 1000, .late = what & 128,
				     .row = bytes(in) };
		outbox_segment_append(*s, &r, byte(in));
	}
}

/* ---- what is read of them ---- */

/* Bit by bit, unlike outbox_segment.c. */
static uint32_t crc32c_slowly(const uint8_t *p, size_t n)
{
	const uint32_t castagnoli = 0x82f63b78;
	uint32_t crc = UINT32_MAX;

	while (n--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? castagnoli : 0);
	}
	return ~crc;
}

static void check_record(const struct outbox_segment *s, const struct outbox_segment_read *r)
{
	static uint8_t file[RECORD_ROW_MAX + HEAD];
	size_t n = (size_t)(r->next - r->at);
	uint32_t crc;

	assert(r->at >= s->base && r->next <= s->end && n == HEAD + r->record.row.len && n <= sizeof file);
	assert(pread(s->fd, file, n, r->at - s->base) == (ssize_t)n);
	memcpy(&crc, file, sizeof crc);
	assert(crc == crc32c_slowly(file + sizeof crc, n - sizeof crc));
	assert(memcmp(file + HEAD, r->record.row.s, r->record.row.len) == 0);
	assert(r->record.kind == SAMPLE_METRICS || r->record.kind == SAMPLE_CHECK ||
	       r->record.kind == SAMPLE_GAP);
}

static void check_segment(const struct outbox_segment *s)
{
	struct buf room = BUF(RECORD_ROW_MAX + 1);
	struct outbox_segment_read r;
	int64_t position = s->base;

	while (outbox_segment_read(s, position, &room, &r)) {
		assert(r.at == position + r.skipped && r.skipped >= 0);
		check_record(s, &r);
		position = r.next;
	}
	assert(r.skipped == s->end - position && r.next == s->end);
	buf_free(&room);
}

static void check_files(int folder)
{
	CLEANUP(closedir_p) DIR *d = opendir(folder_name);
	struct dirent *entry;
	struct outbox_segment *s;

	while (d && (entry = readdir(d)))
		if (outbox_segment_load(folder, entry->d_name, &s) == 0) {
			check_segment(s);
			outbox_segment_free(s);
		}
}

/* ---- the outbox that finds them ---- */

static void deliver(struct outbox *o, struct input *in)
{
	struct batch b;
	struct position stored = { .stream_id = 1 + byte(in) % 4, .source = SOURCE_OUTBOX };

	batch_init(&b);
	stored.from = stored.to = byte(in);
	outbox_positions(o, &stored, byte(in) % 2);
	for (int i = 0; outbox_has_unread(o) || !outbox_is_empty(o, false); i++) {
		assert(i < ROUNDS_MAX && outbox_state(o).samples >= 0);
		outbox_fill(o, &b, 1 + byte(in), false);
		outbox_committed(o, &b);
		batch_reset(&b);
	}
	assert(outbox_state(o).samples == 0);
	batch_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	struct outbox_segment *s = NULL;
	struct outbox *o;
	int folder;

	if (!folder_name[0]) {
		snprintf(folder_name, sizeof folder_name, "/dev/shm/observ-fuzz.XXXXXX");
		assert(mkdtemp(folder_name) && atexit(remove_folder) == 0);
	}
	folder = open(folder_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(folder >= 0);
	for (int i = 0; i < STEPS_MAX && in.p < in.end; i++)
		step(folder, &s, &in);
	if (s)
		outbox_segment_free(s);
	check_files(folder);
	o = outbox_open(folder_name, NULL);
	assert(o);
	deliver(o, &in);
	outbox_close(o);
	close(folder);
	remove_files();
	return 0;
}
