/*
 * tail_folders.c - the folders that configured paths lead to, whether a log is in them or not.
 *
 * A log that is made and rotated away between two looks, in a folder where nothing is known, is
 * found by its rotated name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "log_name.h"
#include "tail_files.h"

enum {
	FOLDERS_MAX = 8192,
	SETTLED_S = 2, /* a folder that changed so lately may change again at the same time stamp */
};

static struct folder *find(const struct tail_files *t, const char *path)
{
	for (size_t i = 0; i < t->n_folders; i++)
		if (strcmp(t->folders[i].path, path) == 0)
			return &t->folders[i];
	return NULL;
}

static struct folder *add(struct tail_files *t, const char *path)
{
	struct folder *grown;

	if (t->n_folders >= FOLDERS_MAX || strlen(path) >= sizeof grown->path)
		return NULL;
	grown = reallocarray(t->folders, t->n_folders + 1, sizeof *grown);
	if (!grown)
		return NULL;
	t->folders = grown;
	grown += t->n_folders++;
	*grown = (struct folder){ .look = t->look };
	snprintf(grown->path, sizeof grown->path, "%s", path);
	tail_cover_again(t);
	return grown;
}

/* Of a log whose path is configured, as its rotated name says? That path. */
static bool root_is_configured(const struct tail_files *t, const char *path, char *log_path, size_t size)
{
	const struct config *c = agent_config(t->agent);
	const char *name = strrchr(path, '/') + 1;
	char root[256];

	log_name_root(name, root, sizeof root);
	if (strcmp(root, name) == 0 ||
	    snprintf(log_path, size, "%.*s%s", (int)(name - path), path, root) >= (int)size)
		return false;
	for (size_t i = 0; i < c->n_log_files; i++)
		if (path_pattern_matches(c->log_files[i].path, log_path))
			return true;
	return false;
}

static void search(struct tail_files *t, struct folder *f)
{
	struct path_list files = { 0 };

	tail_search_list(t, f->path, &files);
	for (size_t i = 0; i < files.n; i++) {
		char log_path[256];

		if (root_is_configured(t, files.path[i], log_path, sizeof log_path) &&
		    !tail_search_admit(t, files.path[i], log_path, t->started_us)) {
			f->searched = (struct timespec){ 0 };
			t->judge_again = true;
		}
	}
	path_list_free(&files);
}

static void look_at(struct tail_files *t, struct folder *f)
{
	struct stat st;

	if (stat(f->path, &st) < 0 ||
	    (st.st_mtim.tv_sec == f->searched.tv_sec && st.st_mtim.tv_nsec == f->searched.tv_nsec))
		return;
	if (wall_us() / US_PER_S - st.st_mtim.tv_sec >= SETTLED_S)
		f->searched = st.st_mtim;
	search(t, f);
}

void tail_folders_look(struct tail_files *t, const struct path_list *paths)
{
	for (size_t i = 0; i < paths->n; i++) {
		struct folder *f = find(t, paths->path[i]);

		if (f && f->look == t->look)
			continue;               /* another pattern leads there too */
		if (!f)
			f = add(t, paths->path[i]);
		if (!f)
			continue;
		f->look = t->look;
		look_at(t, f);
	}
	for (size_t i = t->n_folders; i-- > 0;)
		if (t->folders[i].look != t->look)
			t->folders[i] = t->folders[--t->n_folders];
}
