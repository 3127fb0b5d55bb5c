#include "names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "log_name.h"

enum { NAMES_MAX = 65536 };             /* names looked at in one folder */

void names_end(struct names *in)
{
	closedir_p(&in->d);
}

void names_add_folder(struct names *in, const char *folder)
{
	for (size_t i = 0; i < in->n; i++)
		if (strcmp(in->place[i], folder) == 0)
			return;
	if (in->n < PLACES_MAX && strlen(folder) < FOLDER_SIZE)
		memcpy(in->place[in->n++], folder, strlen(folder) + 1);
}

void names_add_folder_of(struct names *in, const char *path)
{
	char folder[FOLDER_SIZE];
	const char *name;

	if (log_name_split(path, folder, sizeof folder, &name))
		names_add_folder(in, folder);
}

void names_add_folders_below(struct names *in, const char *path)
{
	char folder[FOLDER_SIZE], below[FOLDER_SIZE + 256];
	CLEANUP(closedir_p) DIR *d = NULL;
	const char *name;
	struct dirent *entry;
	struct stat st;
	int left = NAMES_MAX;

	if (!log_name_split(path, folder, sizeof folder, &name))
		return;
	names_add_folder(in, folder);
	if (stat(folder, &st) < 0 || st.st_nlink == 2)
		return;                 /* no folder is in it; where links are not counted there is 1 */
	d = opendir(folder);
	while (d && left-- > 0 && (entry = readdir(d)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
		    snprintf(below, sizeof below, "%s/%s", folder, entry->d_name) < FOLDER_SIZE)
			names_add_folder(in, below);
}

const char *names_next(struct names *in, const char **ret_folder)
{
	for (; in->at < in->n; in->at++) {
		struct dirent *entry;

		if (!in->d) {
			in->d = opendir(in->place[in->at]);
			in->left = NAMES_MAX;
		}
		*ret_folder = in->place[in->at];
		entry = in->d && in->left-- > 0 ? readdir(in->d) : NULL;
		if (entry)
			return entry->d_name;
		closedir_p(&in->d);
	}
	return NULL;
}

/* A path and what its file is sorted by. */
struct sized {
	char *path;
	int64_t size;
};

static int by_size(const void *a, const void *b)
{
	const struct sized *x = a, *y = b;
	size_t m = strlen(x->path), n = strlen(y->path);

	return x->size != y->size ? (x->size < y->size) - (x->size > y->size) : (m > n) - (m < n);
}

void names_sort(struct path_list *files)
{
	struct sized *all = files->n > 1 ? calloc(files->n, sizeof *all) : NULL;
	struct stat st;

	if (!all)
		return;
	for (size_t i = 0; i < files->n; i++)
		all[i] = (struct sized){ files->path[i], stat(files->path[i], &st) == 0 ? st.st_size : 0 };
	qsort(all, files->n, sizeof *all, by_size);
	for (size_t i = 0; i < files->n; i++)
		files->path[i] = all[i].path;
	free(all);
}
