/*
 * remembered.h - files that are known and not open: where reading of them stands.
 *
 * Two such sets are kept: files that are looked for, and files that are over and
 * are not to be read again. Finding one costs a look through its keys only.
 */
#ifndef OBS_AGENT_REMEMBERED_H
#define OBS_AGENT_REMEMBERED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/batch.h"
#include "stream.h"

struct remembered_file {
	struct position at;
	int64_t top;                    /* the largest size that was seen; -1: not known */
	int64_t filled_us;              /* wall clock: when it was last seen to grow; 0: not known */
	int64_t read_us;                /* wall clock: when its position was reached, or later */
	int64_t since_us;               /* as in struct stream */
	bool truncated;                 /* the file is there and holds another text */
	bool whole;                     /* nothing was unread when it went */
	bool torn;                      /* another stream goes on in the file, and tells what is missing */
};

struct remembered {
	struct remembered_file *files;
	uint64_t *keys;                 /* identity_key() of each; 0: the place is empty */
	size_t n, cap, next;
};

/* What is to be remembered of a stream now. */
struct remembered_file remembered_of(const struct stream *s);

/* Add one; with `max` not 0 the set is a ring that forgets the oldest. False: out of memory. */
bool remembered_add(struct remembered *k, const struct remembered_file *f, size_t max);

/* The one that `s` is; of several, that which was read furthest. NULL: none. */
struct remembered_file *remembered_find(const struct remembered *k, const struct stream *s);

/* The one that is the same file without its last bytes (stream_is_torn()). */
struct remembered_file *remembered_find_torn(const struct remembered *k, const struct stream *s);

/* Take one out; its place is filled by the last. */
void remembered_remove(struct remembered *k, struct remembered_file *f);

/* Take one out and leave its place empty, so that a ring keeps its order. */
void remembered_forget(struct remembered *k, struct remembered_file *f);

void remembered_free(struct remembered *k);

#endif
