/*
 * outbox_segment.h - a file of the outbox: a sequence of records.
 *
 * Owns the format. A record is a head (checksum, length, time, kind) and a row from row_json.h;
 * its position is the number of bytes in the stream before it. Promises that a record is appended
 * completely or not at all, and that only what was appended is read: damaged bytes are skipped and
 * counted. The file's name identifies it, so that damage inside can't make it another file.
 */
#ifndef OBS_AGENT_OUTBOX_SEGMENT_H
#define OBS_AGENT_OUTBOX_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "wire/batch.h"

enum {
	SEGMENT_BYTES = 1 << 20,                /* a segment that is larger is closed */
	RECORD_ROW_MAX = 256 << 10,
};

struct outbox_segment {
	struct outbox_segment *next;
	int fd;                         /* -1: dropped, its records are gone */
	bool in_memory;                 /* there is no folder, or no space in it */
	int64_t started_us;             /* wall clock: when its stream began */
	int64_t stream_id;
	int64_t base;                   /* position of its first record */
	int64_t end;                    /* position behind its last record */
	int64_t told;                   /* dropped: records from here on are counted as lost */
};

/* Open a folder of segments and lock it for this process. Returns the descriptor, which holds the
 * lock, or -errno. */
int outbox_segment_open_folder(const char *path);

/* Create a segment in a folder, or in memory (folder -1). Returns 0 or -errno. */
int outbox_segment_create(int folder, int64_t started_us, int64_t stream_id, int64_t base,
			  struct outbox_segment **ret);

/* Open the segment in file `name`; -EINVAL: that is not the name of a segment. */
int outbox_segment_load(int folder, const char *name, struct outbox_segment **ret);

/* Close it; the file stays. */
void outbox_segment_free(struct outbox_segment *s);

/* Close it and remove the file. The struct stays: it knows which positions the file had. */
void outbox_segment_give_up(int folder, struct outbox_segment *s);

/* Append a record. Returns 0, or -errno and nothing was appended. `lost`: samples that a gap counts. */
int outbox_segment_append(struct outbox_segment *s, const struct record *r, uint32_t lost);

struct outbox_segment_read {
	struct record record;           /* its row is in the buffer of the caller */
	uint32_t lost;
	int64_t at, next;               /* position of the record, and of the byte after it */
	int64_t skipped;                /* damaged bytes before it */
};

/* Read the first record at or after `position`. False: there is none, and ret->skipped is the number
 * of bytes up to the end. */
bool outbox_segment_read(const struct outbox_segment *s, int64_t position, struct buf *scratch,
			 struct outbox_segment_read *ret);

#endif
