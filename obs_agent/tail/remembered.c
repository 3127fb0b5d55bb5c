#include "remembered.h"

#include <stdlib.h>

static bool grow(struct known *k)
{
	size_t room = k->room ? 2 * k->room : 64;
	struct known_file *files = reallocarray(k->files, room, sizeof *files);
	uint64_t *keys;

	if (!files)
		return false;
	k->files = files;
	keys = reallocarray(k->keys, room, sizeof *keys);
	if (!keys)
		return false;
	k->keys = keys;
	k->room = room;
	return true;
}

bool known_add(struct known *k, const struct known_file *f, size_t max)
{
	size_t i = max && k->n == max ? k->next : k->n;

	if (i == k->room && !grow(k))
		return false;
	k->files[i] = *f;
	k->keys[i] = stream_key(f->at.file_id);
	if (i == k->n)
		k->n++;
	k->next = max ? (i + 1) % max : 0;
	return true;
}

struct known_file *known_find(const struct known *k, const struct stream *s)
{
	struct known_file *found = NULL;

	for (size_t i = 0; i < k->n; i++)
		if (k->keys[i] == s->key && (!found || found->at.to < k->files[i].at.to) &&
		    stream_is(s, &k->files[i].at))
			found = &k->files[i];
	return found;
}

struct known_file *known_find_torn(const struct known *k, const struct stream *s)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->keys[i] == s->key && !k->files[i].truncated && stream_is_torn(s, &k->files[i].at))
			return &k->files[i];
	return NULL;
}

void known_remove(struct known *k, struct known_file *f)
{
	size_t i = (size_t)(f - k->files), last = --k->n;

	k->files[i] = k->files[last];
	k->keys[i] = k->keys[last];
}

void known_forget(struct known *k, struct known_file *f)
{
	k->keys[f - k->files] = 0;
}

void known_clear(struct known *k)
{
	k->n = k->next = 0;
}

void known_free(struct known *k)
{
	free(k->files);
	free(k->keys);
	*k = (struct known){ 0 };
}
