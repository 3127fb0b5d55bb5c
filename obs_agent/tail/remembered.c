#include "remembered.h"

#include <stdlib.h>

static bool grow(struct remembered *k)
{
	size_t cap = k->cap ? 2 * k->cap : 64;
	struct remembered_file *files = reallocarray(k->files, cap, sizeof *files);
	uint64_t *keys;

	if (!files)
		return false;
	k->files = files;
	keys = reallocarray(k->keys, cap, sizeof *keys);
	if (!keys)
		return false;
	k->keys = keys;
	k->cap = cap;
	return true;
}

struct remembered_file remembered_of(const struct stream *s)
{
	struct remembered_file f = { .top = stream_extent(s)->top,
				     .filled_us = stream_extent(s)->filled_us,
				     .read_us = stream_progress(s)->read_us,
				     .since_us = stream_search(s)->since_us };

	stream_position(s, &f.at);
	return f;
}

bool remembered_add(struct remembered *k, const struct remembered_file *f, size_t max)
{
	size_t i = max && k->n == max ? k->next : k->n;

	if (i == k->cap && !grow(k))
		return false;
	k->files[i] = *f;
	k->keys[i] = identity_key(f->at.file_id);
	if (i == k->n)
		k->n++;
	k->next = max ? (i + 1) % max : 0;
	return true;
}

struct remembered_file *remembered_find(const struct remembered *k, const struct stream *s)
{
	struct remembered_file *found = NULL;

	for (size_t i = 0; i < k->n; i++)
		if (k->keys[i] == stream_file(s)->key && (!found || found->at.to < k->files[i].at.to) &&
		    stream_is(s, &k->files[i].at))
			found = &k->files[i];
	return found;
}

struct remembered_file *remembered_find_torn(const struct remembered *k, const struct stream *s)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->keys[i] == stream_file(s)->key && !k->files[i].truncated &&
		    stream_is_torn(s, &k->files[i].at))
			return &k->files[i];
	return NULL;
}

void remembered_remove(struct remembered *k, struct remembered_file *f)
{
	size_t i = (size_t)(f - k->files), last = --k->n;

	k->files[i] = k->files[last];
	k->keys[i] = k->keys[last];
}

void remembered_forget(struct remembered *k, struct remembered_file *f)
{
	k->keys[f - k->files] = 0;
}

void remembered_free(struct remembered *k)
{
	free(k->files);
	free(k->keys);
	*k = (struct remembered){ 0 };
}
