#include "arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

void *arena_alloc(struct arena *a, size_t n)
{
	size_t align = alignof(max_align_t);
	size_t start = (a->used + align - 1) / align * align;

	if (start > a->size || n > a->size - start)
		return NULL;
	if (!a->block) {
		a->block = calloc(1, a->size);
		if (!a->block)
			return NULL;
	}
	a->used = start + n;
	return a->block + start;
}

char *arena_dup(struct arena *a, struct text t)
{
	char *copy = arena_alloc(a, t.len + 1);

	if (copy && t.len)
		memcpy(copy, t.s, t.len);
	return copy;
}

void arena_free(struct arena *a)
{
	free(a->block);
	*a = ARENA(a->size);
}
