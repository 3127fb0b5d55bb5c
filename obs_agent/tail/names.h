/*
 * names.h - the names of files in some folders, one after the other.
 */
#ifndef OBS_AGENT_NAMES_H
#define OBS_AGENT_NAMES_H

#include <dirent.h>
#include <stddef.h>

#include "common/path_pattern.h"

enum {
	PLACES_MAX = 32,                /* folders that are searched for one log: its own, and those in it */
	FOLDER_SIZE = 256,
};

/* All zero: no folder yet. */
struct names {
	char place[PLACES_MAX][FOLDER_SIZE];
	size_t n, at;
	DIR *d;                         /* place[at], being read */
	int left;
};

void names_end(struct names *in);

/* Each folder is taken once; what is too much or too long is left out. */
void names_add_folder(struct names *in, const char *folder);
void names_add_folder_of(struct names *in, const char *path);

/* The folder of `path`, and the folders in it: logrotate's olddir is one of them. */
void names_add_folders_below(struct names *in, const char *path);

/* The next name, in *ret_folder; NULL: no more. */
const char *names_next(struct names *in, const char **ret_folder);

/* The largest file first, and the shorter name of two: a text comes before its copies, so that they
 * are known for what they are. */
void names_sort(struct path_list *files);

#endif
