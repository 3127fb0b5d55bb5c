/*
 * search_tree.h - a parsed query, between search.c, which reads it, and search_write.c, which writes it
 * as JSON and in words. Nodes live in one array; a node's parts are a list of indexes, 0 ends it.
 */
#ifndef FLEET_HUB_SEARCH_TREE_H
#define FLEET_HUB_SEARCH_TREE_H

#include "common/level.h"
#include "search.h"

enum search_kind {
	NODE_NONE,
	NODE_AND,
	NODE_OR,
	NODE_NOT,
	NODE_TEXT,
	NODE_LEVELS,
	NODE_COLUMN,
	NODE_CONTEXT,
};

enum { SEARCH_NODES_MAX = 6 * SEARCH_TERMS_MAX, SEARCH_ANY_LEVEL = (1 << LOG_LEVELS) - 1 };

struct search_node {
	enum search_kind kind;
	unsigned first, next;           /* first part; the next part of the same parent */
	char op[3];                     /* of a column or context: =, <, <=, >, >=, ^, =* */
	bool quoted, cut;               /* of a text; cut: it goes on */
	bool named;                     /* of levels: by "level:x", which another one adds to */
	bool grouped;                   /* in parentheses: another one does not add to it */
	unsigned levels;                /* a bit for each level */
	char key[SEARCH_TERM_LEN + 1];  /* column or key */
	char value[SEARCH_TERM_LEN + 1];
	size_t key_len, len;
};

struct search_tree {
	struct search_node node[SEARCH_NODES_MAX];      /* [0] is no node */
	unsigned n, root;                               /* root: 0 for an empty query */
};

/* Append the tree to s->tree and s->understood. False only when memory is short. */
bool search_write(const struct search_tree *t, struct search *s);

#endif
