/*
 * outbox_segment.h - a file of the outbox: records, one behind the other.
 *
 * Owns the format. A record is a head (checksum, length, time, kind) and a row as
 * row_json.h makes it; its position is the number of bytes that its stream had before
 * it. Promises that a record is appended wholly or not at all, and that what is
 * read is what was appended: damaged bytes are skipped and counted. What the file
 * is, its name says, so that no damage can make it another one.
 */
#ifndef OBS_AGENT_OUTBOX_SEGMENT_H
#define OBS_AGENT_OUTBOX_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "wire/batch.h"

enum {
	SEGMENT_BYTES = 1 << 20,                /* a larger one is followed by the next */
	RECORD_ROW_MAX = 256 << 10,
};

struct outbox_segment {
	struct outbox_segment *next;
	int fd;                         /* -1: given up, its bytes are not to be had */
	bool in_memory;                 /* there is no folder for it, or no space */
	int64_t started_us;             /* wall clock: when its stream began */
	int64_t stream_id;
	int64_t base;                   /* position of its first record */
	int64_t end;                    /* position behind its last record */
	int64_t told;                   /* given up: what stands from here on is told as lost */
};

/* A folder of them, for one process at a time: the lock goes with the descriptor. -errno. */
int outbox_segment_open_folder(const char *path);

/* A new one, in a folder or (-1) in memory. Returns 0 or -errno. */
int outbox_segment_create(int folder, int64_t started_us, int64_t stream_id, int64_t base,
			  struct outbox_segment **ret);

/* The file called `name`; -EINVAL: that is no segment's name. */
int outbox_segment_load(int folder, const char *name, struct outbox_segment **ret);

/* Close it; the file stays. */
void outbox_segment_free(struct outbox_segment *s);

/* Close it and remove the file: what is left says which positions it had. */
void outbox_segment_give_up(int folder, struct outbox_segment *s);

/* 0, or -errno and nothing is appended. `lost`: how many samples a gap speaks of. */
int outbox_segment_append(struct outbox_segment *s, const struct record *r, uint32_t lost);

struct outbox_segment_read {
	struct record record;           /* the row is in the buffer that was given */
	uint32_t lost;
	int64_t at, next;               /* positions of the record and behind it */
	int64_t skipped;                /* damaged bytes before it */
};

/* The first record at or behind `position`; false: there is none, and ret->skipped
 * says how many bytes up to the end are no records. */
bool outbox_segment_read(const struct outbox_segment *s, int64_t position, struct buf *scratch,
			 struct outbox_segment_read *ret);

#endif
