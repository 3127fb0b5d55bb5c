/*
 * arena.h - memory for one unit of work: allocated in pieces, freed at once.
 *
 * Owns one block of a fixed size, which it allocates at the first use; untouched pages
 * cost nothing. The size is a limit: a request that does not fit gives NULL.
 */
#ifndef OBSERV_ARENA_H
#define OBSERV_ARENA_H

#include <stddef.h>

#include "text.h"

struct arena {
	char *block;
	size_t used;
	size_t size;
};

#define ARENA(limit) ((struct arena){ .size = (limit) })

/* n zeroed bytes, aligned for any type; NULL when they do not fit. */
void *arena_alloc(struct arena *a, size_t n);

/* A terminated copy; NULL when it does not fit. */
char *arena_dup(struct arena *a, struct text t);

/* Free everything; the arena can be used again. */
void arena_free(struct arena *a);

#endif
