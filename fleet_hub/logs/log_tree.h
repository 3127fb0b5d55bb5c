/*
 * log_tree.h - the context of a log line as a list of nodes for a template: leaves, and branches that open
 * and end.
 *
 *	{"leaf": true, "key": ..., "value": ..., "term": ctx.a.b=VALUE}
 *	{"branch": true, "key": ..., "members": "3 fields", "open": true} ... {"end": true}
 *
 * "term" asks the log search for the value (link_and() quotes its end); a node that no term can name has
 * none.
 */
#ifndef FLEET_HUB_LOG_TREE_H
#define FLEET_HUB_LOG_TREE_H

#include <stdbool.h>

#include "common/buf.h"

struct json_object;

enum { LOG_TERM_MAX = 2048 };

struct log_tree {
	struct json_object *nodes;      /* the list that grows; borrowed */
	size_t filtered;                /* leaves that have a term */
	size_t n;                       /* leaves that it has */
};

/* Append the members of an object; anything else has none. */
void log_tree_add(struct log_tree *t, struct json_object *context);

/* Append a leaf of a field that each line has; nothing for an empty value. */
void log_tree_fact(struct json_object *nodes, const char *key, const char *field, struct text value);

/* The first few members, each short, as they stand behind the message. */
struct json_object *log_tree_brief(struct json_object *context);

/* Append ctx.KEY=VALUE, or FIELD:VALUE; false when the search box can't hold it. */
bool log_tree_term(struct buf *out, struct text key, struct text value);
bool log_field_term(struct buf *out, struct text field, struct text value);

#endif
