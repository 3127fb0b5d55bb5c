/*
 * yaml_tree.h - one section of a YAML file as a tree of nodes with line and column.
 *
 * Owns libyaml. Promises that the whole file is one well-formed YAML document, that the section
 * has no alias, anchor or tag and is not deeper than YAML_DEPTH_MAX, and that an error is one
 * sentence with file:line:column and a remedy. Other sections are only scanned: their aliases are
 * never expanded. Leaves out what the values mean.
 */
#ifndef COMMON_YAML_TREE_H
#define COMMON_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/text.h"

enum { YAML_DEPTH_MAX = 16 };           /* levels, the file's top level included */

enum node_kind { NODE_TEXT, NODE_LIST, NODE_MAP };

struct yaml_node {
	enum node_kind kind;
	int line, column;               /* from 1; columns count characters */
	bool plain;                     /* NODE_TEXT: written without quotes */
	struct text text;               /* NODE_TEXT: UTF-8, terminated; may hold a NUL from "\0" */
	size_t n;                       /* number of children of a list or a map */
	struct yaml_node *first;
	struct yaml_node *next;         /* sibling */
	const struct yaml_node *key;    /* in a map: a NODE_TEXT */
};

/* Parse `yaml` and store the value of its top-level key `section` in *ret, allocated from `a`; NULL if the
 * file has none. `path` is for messages. */
int yaml_section(const char *path, struct text yaml, const char *section, struct arena *a,
		 const struct yaml_node **ret, struct err *e);

/* Store "path:line:column: sentence" in `e`; returns -EINVAL. */
int yaml_error(struct err *e, const char *path, int line, int column, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#endif
