/*
 * path_pattern.h - patterns of paths: *, ?, [x], [!x], {a,b}, one ** for folders at any depth, \
 * for the character itself.
 *
 * Promises bounds: on alternatives, folders, depth, names and paths. Folders under ** are not followed
 * through symbolic links, and names that begin with a dot match no wildcard. A path with none of * ? [ { is
 * taken as it is, \ included.
 */
#ifndef OBSERV_PATH_PATTERN_H
#define OBSERV_PATH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

enum {
	PATTERN_ALTERNATIVES_MAX = 64,  /* patterns without braces, made of one with braces */
	PATTERN_FOLDERS_MAX = 1024,     /* folders that one ** may match */
	PATTERN_DEPTH_MAX = 16,
	PATTERN_NAMES_MAX = 1 << 20,    /* that are read in folders, in one search */
	PATTERN_PATHS_MAX = 1 << 16,    /* that match, the folders on the way included, in one search */
};

/* Owned strings. All zero: empty. */
struct path_list {
	char **path;
	size_t n, cap;
};

/* False: out of memory. */
bool path_list_add(struct path_list *l, const char *path);
void path_list_free(struct path_list *l);

bool path_pattern_is(const char *path);

/* The first mistake in it and its fix, as in "has a [ without a ]; ..."; NULL: none. */
const char *path_pattern_problem(const char *path);

/* Does the pattern match this path, wherever that leads? */
bool path_pattern_matches(const char *pattern, const char *path);

/*
 * Append what matches now and is no folder to `files`, and the folders whose names decide that to
 * `folders`, each perhaps twice: those in which a match would be, and those on the way in which a wildcard or
 * what is behind one is looked up. A path without wildcards is appended whatever is there. Returns 0, -E2BIG
 * where ** stands for too many folders (some were left out), or -ENOMEM.
 */
int path_pattern_find(const char *pattern, struct path_list *files, struct path_list *folders);

#endif
