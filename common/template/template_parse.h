/*
 * template_parse.h - a template's text as a list of nodes; used by template.c alone.
 */
#ifndef OBSERV_TEMPLATE_PARSE_H
#define OBSERV_TEMPLATE_PARSE_H

#include "common/arena.h"
#include "template.h"

enum { TEMPLATE_NAME_MAX = 128 };

enum node_kind { NODE_TEXT, NODE_VALUE, NODE_RAW, NODE_SECTION, NODE_INVERTED, NODE_FORMAT, NODE_PARTIAL };

struct node {
	enum node_kind kind;
	struct text text;               /* literal text, or the name (terminated) */
	struct text indent;             /* partial: put before each of its lines */
	size_t end;                     /* section: index of the node behind it */
	template_formatter *format;
};

struct program {
	struct node *node;
	size_t n, room;
};

/* Literal text points into src, names into the arena. Free ret->node in either case. */
int template_parse(struct text src, struct arena *names, const struct template_env *env, struct program *ret,
		   struct err *e);

#endif
