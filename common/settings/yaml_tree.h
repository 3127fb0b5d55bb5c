/*
 * yaml_tree.h - sections of a YAML file as trees of nodes with line and column.
 *
 * Owns libyaml. Promises that the whole file is one well-formed YAML document, that the wanted sections
 * have no alias, anchor or tag and are not deeper than YAML_DEPTH_MAX, and that an error is one
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

struct yaml_section {
	const char *name;               /* a key of the top level */
	struct yaml_node *node;         /* its value; NULL: the file has none */
};

/* Parse `yaml` once and store the value of each of the n wanted sections, whose node is NULL before. It is
 * allocated from `a`. `path` is for messages. */
int yaml_sections(const char *path, struct text yaml, struct yaml_section *sections, size_t n,
		  struct arena *a, struct err *e);

/* Store "path:line:column: sentence" in `e`; returns -EINVAL. */
int yaml_error(struct err *e, const char *path, int line, int column, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#endif
