#include "log_tree.h"

#include <json-c/json.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "search.h"

enum {
	BRIEF_MAX = 4,                  /* members behind a message */
	BRIEF_LEN = 120,                /* bytes of one, key and value */
	DEPTH_MAX = 12,                 /* what lies deeper is shown as JSON */
	OPEN_MAX = 8,                   /* members of a branch that is open at first */
	DOTS_MAX = 5,                   /* max_key_dots() of schema/35-search.sql */
};

/* Where a node is. */
struct place {
	char path[SEARCH_TERM_LEN + 1]; /* the keys that lead to it, with dots between them */
	bool nameable;                  /* the search box can name it by the path */
	bool dotted;                    /* a key on the way has a dot */
	int depth;
};

/* What the agent says of a line; an application's own keys rarely begin so. It is not in the brief. */
static bool is_note(const char *key)
{
	return key[0] == '_';
}

/* ---- terms ------------------------------------------------------------------------------------- */

bool log_tree_term(struct buf *out, struct text key, struct text value)
{
	bool plain = true, ok;

	if (key.len == 0 || key.len > SEARCH_TERM_LEN || value.len > SEARCH_TERM_LEN)
		return false;
	for (size_t i = 0; i < key.len && plain; i++)
		plain = !strchr(" \t\r\n\":=<>!\\()", key.s[i]);
	ok = buf_adds(out, plain ? "ctx." : "ctx.\"");
	for (size_t i = 0; i < key.len && ok; i++)
		ok = (!strchr("\"\\", key.s[i]) || buf_addc(out, '\\')) && buf_addc(out, key.s[i]);
	return ok && (plain || buf_addc(out, '"')) && buf_addc(out, '=') && buf_add(out, value.s, value.len);
}

bool log_field_term(struct buf *out, struct text field, struct text value)
{
	return value.len <= SEARCH_TERM_LEN && buf_add(out, field.s, field.len) && buf_addc(out, ':') &&
	       buf_add(out, value.s, value.len);
}

static void set_text(struct json_object *o, const char *name, struct text t)
{
	json_object_object_add(o, name, json_object_new_string_len(t.s, (int)t.len));
}

static void set_flag(struct json_object *o, const char *name)
{
	json_object_object_add(o, name, json_object_new_boolean(true));
}

/* ---- nodes ------------------------------------------------------------------------------------- */

static struct json_object *add_node(struct json_object *nodes, const char *kind)
{
	struct json_object *node = json_object_new_object();

	set_flag(node, kind);
	json_object_array_add(nodes, node);
	return node;
}

static struct text text_value(struct json_object *v)
{
	if (json_object_is_type(v, json_type_string))
		return (struct text){ json_object_get_string(v), (size_t)json_object_get_string_len(v) };
	return text_of(json_object_to_json_string_ext(v, JSON_C_TO_STRING_SPACED |
							 JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void add_leaf(struct log_tree *t, const struct place *p, const char *key, struct json_object *v)
{
	struct json_object *node = add_node(t->nodes, "leaf");
	bool scalar =
		!json_object_is_type(v, json_type_object) && !json_object_is_type(v, json_type_array);
	CLEANUP(buf_free) struct buf term = BUF(LOG_TERM_MAX);

	set_text(node, "key", text_of(key));
	set_text(node, "value", text_value(v));
	if (scalar && p->nameable && t->n < t->filtered &&
	    log_tree_term(&term, text_of(p->path), text_value(v)))
		set_text(node, "term", (struct text){ term.data, term.len });
	t->n++;
}

static size_t dots_in(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == '.';
	return n;
}

/* The place of a member. Of a path with few dots the search tries each: within a key, or between two. */
static struct place below(const struct place *p, const char *key)
{
	struct place at = { .depth = p->depth + 1 };
	int n = snprintf(at.path, sizeof at.path, "%s%s%s", p->path, p->depth ? "." : "", key);

	at.dotted = p->dotted || strchr(key, '.');
	at.nameable = p->nameable && *key && n >= 0 && (size_t)n < sizeof at.path &&
		      (p->depth == 0 || !at.dotted || dots_in(at.path) <= DOTS_MAX);
	return at;
}

static void add_value(struct log_tree *t, const struct place *p, const char *key, struct json_object *v);

static void add_members(struct log_tree *t, const struct place *p, struct json_object *v)
{
	for (struct lh_entry *m = json_object_get_object(v)->head; m; m = m->next) {
		const char *key = lh_entry_k(m);
		struct place at = below(p, key);

		if (p->depth > 0 || (strcmp(key, "_line") != 0 && strcmp(key, "_prefix") != 0))
			add_value(t, &at, key, lh_entry_v(m));
	}
}

/* A scalar of a list is named by the list; what has members there has no name. */
static void add_items(struct log_tree *t, const struct place *p, struct json_object *v)
{
	size_t n = json_object_array_length(v);

	for (size_t i = 0; i < n; i++) {
		struct json_object *item = json_object_array_get_idx(v, i);
		struct place at = *p;
		char key[24];

		at.depth++;
		at.nameable = p->nameable && !json_object_is_type(item, json_type_object) &&
			      !json_object_is_type(item, json_type_array);
		snprintf(key, sizeof key, "%zu", i);
		add_value(t, &at, key, item);
	}
}

static void add_branch(struct log_tree *t, const struct place *p, const char *key, struct json_object *v)
{
	bool list = json_object_is_type(v, json_type_array);
	size_t n = list ? json_object_array_length(v) : (size_t)json_object_object_length(v);
	struct json_object *node = add_node(t->nodes, "branch");
	char members[48];

	snprintf(members, sizeof members, "%zu %s%s", n, list ? "item" : "field", n == 1 ? "" : "s");
	set_text(node, "key", text_of(key));
	set_text(node, "members", text_of(members));
	if (n <= OPEN_MAX)
		set_flag(node, "open");
	if (list)
		add_items(t, p, v);
	else
		add_members(t, p, v);
	add_node(t->nodes, "end");
}

static bool has_members(struct json_object *v)
{
	return (json_object_is_type(v, json_type_object) && json_object_object_length(v) > 0) ||
	       (json_object_is_type(v, json_type_array) && json_object_array_length(v) > 0);
}

static void add_value(struct log_tree *t, const struct place *p, const char *key, struct json_object *v)
{
	if (has_members(v) && p->depth < DEPTH_MAX)
		add_branch(t, p, key, v);
	else
		add_leaf(t, p, key, v);
}

void log_tree_add(struct log_tree *t, struct json_object *context)
{
	struct place top = { .nameable = true };

	if (json_object_is_type(context, json_type_object))
		add_members(t, &top, context);
}

void log_tree_fact(struct json_object *nodes, const char *key, const char *field, struct text value)
{
	CLEANUP(buf_free) struct buf term = BUF(LOG_TERM_MAX);
	struct json_object *node;

	if (value.len == 0)
		return;
	node = add_node(nodes, "leaf");
	set_text(node, "key", text_of(key));
	set_text(node, "value", value);
	if (log_field_term(&term, text_of(field), value))
		set_text(node, "term", (struct text){ term.data, term.len });
}

struct json_object *log_tree_brief(struct json_object *context)
{
	struct json_object *brief = json_object_new_array();
	struct lh_entry *m =
		json_object_is_type(context, json_type_object) ? json_object_get_object(context)->head : NULL;

	for (size_t n = 0; m && n < BRIEF_MAX; m = m->next) {
		struct text key = text_of(lh_entry_k(m)), value = text_value(lh_entry_v(m));
		struct json_object *node;

		if (is_note(key.s))
			continue;
		n++;
		if (key.len + value.len > BRIEF_LEN)
			continue;
		node = json_object_new_object();
		set_text(node, "key", key);
		set_text(node, "value", value);
		json_object_array_add(brief, node);
	}
	return brief;
}
