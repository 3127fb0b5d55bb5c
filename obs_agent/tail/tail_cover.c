/*
 * tail_cover.c - whether an event will tell of all that a look could find.
 *
 * Watches cover the paths. For as long as they cover all of them, each file tells of its changes, and
 * nothing is searched for, waited for or in trouble, a look now and then is enough. Some files change without
 * an event (splice(2), a layer below a mount). A look that finds what no event told shows that, and the file
 * is marked.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "log_name.h"
#include "names.h"
#include "tail_files.h"

enum {
	QUIET_S = 10,                   /* after names changed: searches by time stamps have settled */
	COVER_AGAIN_S = 60,             /* what can't be covered may have changed */
};

/* ---- paths ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The folders that paths lead to, and those of files that are followed. False: not all. */
static bool add_all(const struct tail_files *t, const struct path_list *folders, struct path_list *out)
{
	char folder[FOLDER_SIZE];
	const char *name;
	bool ok = true;

	for (size_t i = 0; i < folders->n; i++)
		ok &= path_list_add(out, folders->path[i]);
	for (const struct stream *s = t->streams; s; s = stream_next(s)) {
		if (stream_ended(s))
			continue;
		ok &= log_name_split(stream_path(s), folder, sizeof folder, &name);
		if (ok && (out->n == 0 || strcmp(folder, out->path[out->n - 1]) != 0))
			ok = path_list_add(out, folder);
	}
	return ok;
}

void tail_cover_paths(struct tail_files *t, const struct path_list *files, const struct path_list *folders)
{
	CLEANUP(path_list_free) struct path_list all = { 0 };
	int64_t now_us = mono_us();

	if (now_us < t->cover_at_us)
		return;
	watches_begin(t->watches);
	t->coverage = COVER_PARTIAL;
	if (!add_all(t, folders, &all))
		return;                 /* at the next look */
	if (all.n)
		qsort(all.path, all.n, sizeof *all.path, by_text);
	for (size_t i = 0; i < all.n; i++)
		if (i == 0 || strcmp(all.path[i], all.path[i - 1]) != 0)
			watches_cover_folder(t->watches, all.path[i]);
	for (size_t i = 0; i < files->n; i++)
		watches_cover_file(t->watches, files->path[i]);
	t->coverage = watches_end(t->watches);
	if (t->coverage == COVER_GREW)
		tail_cover_again(t);
	else if (t->coverage == COVER_PARTIAL)
		t->cover_at_us = now_us + COVER_AGAIN_S * US_PER_S;
	else
		t->cover_at_us = INT64_MAX;
}

void tail_cover_again(struct tail_files *t)
{
	t->cover_at_us = 0;
	t->quiet_at_us = mono_us() + QUIET_S * US_PER_S;
}

/* ---- files ---- */

static bool same_extent(const struct extent *a, const struct extent *b)
{
	return a->size == b->size && stream_same_time(a->written, b->written) &&
	       stream_same_time(a->changed, b->changed);
}

void tail_cover_seen(struct stream *s, const struct stat *st)
{
	struct stream_links *links = stream_links(s);
	struct extent before = *stream_extent(s);
	bool told = links->told || stream_is_dirty(s);

	links->untold |= links->unexplained;    /* its event would have come by now */
	links->told = links->unexplained = false;
	stream_seen(s, st);
	links->unexplained = !told && !same_extent(&before, stream_extent(s));
}

static bool tells(const struct stream_links *links)
{
	return links->watch >= 0 && !links->blind && !links->untold && !links->unexplained;
}

static bool is_settled(struct stream *s)
{
	if (stream_ended(s))
		return true;
	return (stream_life(s) == FOLLOWED || stream_life(s) == ROTATED) && tells(stream_links(s)) &&
	       !stream_is_prepared(s) && !stream_is_unlinked(s) && !tail_search_goes_on(s);
}

/* Waiting for a file needs no look where its folder is watched. */
static bool in_trouble(const struct tail_files *t)
{
	for (const struct trouble *x = t->troubles; x < t->troubles + TROUBLES_MAX; x++)
		if (tail_files_lasts(t, x) && x->code != ENOENT)
			return true;
	return t->unnamed_look && t->look - t->unnamed_look <= 1;
}

bool tail_files_is_calm(const struct tail_files *t)
{
	if (t->coverage != COVER_COMPLETE || t->cover_at_us == 0 || mono_us() < t->quiet_at_us ||
	    !t->all_known || t->missing.n || t->judge_again || in_trouble(t))
		return false;
	for (struct stream *s = t->streams; s; s = stream_next(s))
		if (!is_settled(s))
			return false;
	return true;
}
