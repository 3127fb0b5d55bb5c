/*
 * ring.h - lines of one thread on their way to the log. Private to the library.
 *
 * A ring lies in a piece of a file that is mapped shared, so its lines outlive the
 * process. One thread puts lines in; one thread at a time, under the caller's lock, takes
 * them out. The data are mapped twice in a row, so each span of bytes is contiguous.
 *
 * Promises that a process killed at any instant leaves a ring from which the next
 * process can tell which bytes were not written: a note in the ring precedes each write(2).
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

/* The first page of a ring. Do not change it: another version may have to read it. */
struct ring_state {
	_Alignas(64) _Atomic uint64_t head;     /* bytes ever put */
	_Alignas(64) _Atomic uint64_t tail;     /* bytes ever taken */
	_Atomic uint64_t writing;               /* bytes of the write(2) under way, or 0 */
	uint64_t writing_from;                  /* the tail when it began */
	struct file_place place;                /* the log and its size before that write(2) */
};

struct ring {
	struct ring_state *state;
	char *data;
	size_t size;                            /* of the data; a multiple of the page */
	size_t page;                            /* of the state */
	uint64_t head;                          /* copies for the putting thread, so that it */
	uint64_t tail_seen;                     /* seldom touches the shared ones */
};

/* Map the ring at `offset` of the file. 0 or -errno. */
int logcore_ring_map(struct ring *r, int fd, off_t offset, size_t page, size_t size);
void logcore_ring_unmap(struct ring *r);

/* Add a line; false when the ring has no space for it now. */
bool logcore_ring_put(struct ring *r, const char *bytes, size_t n);

/* Whether the ring has more than n bytes; only for the thread that puts. */
bool logcore_ring_is_fuller(struct ring *r, size_t n);

/* How many bytes there are up to the last newline. */
static inline size_t logcore_ring_whole_lines(const char *lines, size_t n)
{
	const char *end = memrchr(lines, '\n', n);

	return end ? (size_t)(end - lines) + 1 : 0;
}

/* The lines in the ring: *ret_n bytes. */
const char *logcore_ring_look(const struct ring *r, size_t *ret_n);

/* Write to the sink what is in the ring at this moment. False: a part could not be written
 * and stays in the ring. */
bool logcore_ring_drain(struct ring *r, struct sink *sink, int64_t now_us);

/* End the noted write(2): remove `used` bytes, which need not be written again. */
void logcore_ring_end(struct ring *r, size_t used);

#endif
