/*
 * ring.h - lines of one thread on their way to the log. Private to the library.
 *
 * A ring lies in a piece of a file that is mapped shared, so that what is in it
 * outlives the process. One thread puts; whoever holds the caller's lock takes.
 * The data are mapped twice in a row: what is put and what is taken is always in
 * one piece.
 *
 * Promises that a process killed at any instant leaves a ring from which the next
 * one can tell what was not yet written: before a write(2) its place is noted.
 * Leaves out locking. DESIGN.md tells the order of the stores.
 */
#ifndef LOGCORE_RING_H
#define LOGCORE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "logcore/sink.h"

/* The first page of a ring. It stays as it is: another version may have to read it. */
struct ring_state {
	_Alignas(64) _Atomic uint64_t head;     /* bytes ever put */
	_Alignas(64) _Atomic uint64_t tail;     /* bytes ever taken */
	_Atomic uint64_t writing;               /* bytes of the write(2) under way, or 0 */
	uint64_t writing_from;                  /* the tail when it began */
	struct file_place place;                /* the file and its size before that write(2) */
};

struct ring {
	struct ring_state *state;
	char *data;
	size_t size;                            /* of the data; a multiple of the page */
	size_t page;                            /* of the state */
	uint64_t head;                          /* the putting thread's own copies: the shared */
	uint64_t tail_seen;                     /* ones are only touched when they must be */
};

/* Map the ring at `offset` of the file. 0 or -errno. */
int logcore_ring_map(struct ring *r, int fd, off_t offset, size_t page, size_t size);
void logcore_ring_unmap(struct ring *r);

/* Add a line; false when there is no room for it now. */
bool logcore_ring_put(struct ring *r, const char *bytes, size_t n);

/* Whether more than n bytes are in it; for the thread that puts. */
bool logcore_ring_is_fuller(struct ring *r, size_t n);

/* The bytes up to the last end of a line. */
static inline size_t logcore_ring_whole_lines(const char *lines, size_t n)
{
	const char *end = memrchr(lines, '\n', n);

	return end ? (size_t)(end - lines) + 1 : 0;
}

/* What is there to be taken: *ret_n bytes, whole lines. */
const char *logcore_ring_look(const struct ring *r, size_t *ret_n);

/* Write to the sink what is in the ring at this moment. False: a part could not be written
 * and stays in the ring. */
bool logcore_ring_drain(struct ring *r, struct sink *sink, int64_t now_us);

/* Take `used` bytes out, which need not be written again: the write(2) that was noted is over. */
void logcore_ring_end(struct ring *r, size_t used);

#endif
