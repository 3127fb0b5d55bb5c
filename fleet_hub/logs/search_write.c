#include "search_tree.h"

/* ---- JSON -------------------------------------------------------------------------------------- */

static bool write_node(const struct search_tree *t, unsigned at, struct buf *out);

static bool write_levels(unsigned levels, struct buf *out)
{
	bool ok = buf_adds(out, "{\"levels\":["), first = true;

	for (int i = 0; i < LOG_LEVELS && ok; i++)
		if (levels & (1u << i)) {
			ok = buf_addf(out, "%s\"%s\"", first ? "" : ",", log_level_names[i]);
			first = false;
		}
	return ok && buf_adds(out, "]}");
}

static bool write_parts(const struct search_tree *t, const struct search_node *node, struct buf *out)
{
	bool ok = buf_adds(out, node->kind == NODE_AND ? "{\"and\":[" : "{\"or\":[");

	for (unsigned k = node->first; k && ok; k = t->node[k].next)
		ok = (k == node->first || buf_addc(out, ',')) && write_node(t, k, out);
	return ok && buf_adds(out, "]}");
}

static bool write_member(const char *name, const char *value, size_t len, struct buf *out)
{
	return buf_addf(out, "\"%s\":", name) && buf_add_json(out, (struct text){ value, len });
}

static bool write_node(const struct search_tree *t, unsigned at, struct buf *out)
{
	const struct search_node *node = &t->node[at];

	switch (node->kind) {
	case NODE_AND:
	case NODE_OR: return write_parts(t, node, out);
	case NODE_NOT:
		return buf_adds(out, "{\"not\":") && write_node(t, node->first, out) && buf_addc(out, '}');
	case NODE_TEXT:
		return buf_addc(out, '{') && write_member("text", node->value, node->len, out) &&
		       buf_addf(out, ",\"quoted\":%s%s}", node->quoted ? "true" : "false",
				node->cut ? ",\"cut\":true" : "");
	case NODE_LEVELS: return write_levels(node->levels, out);
	case NODE_COLUMN:
	case NODE_CONTEXT:
		return buf_addc(out, '{') &&
		       write_member(node->kind == NODE_COLUMN ? "column" : "context", node->key,
				    node->key_len, out) &&
		       buf_addf(out, ",\"op\":\"%s\",", node->op) &&
		       write_member("value", node->value, node->len, out) && buf_addc(out, '}');
	case NODE_NONE: break;
	}
	return buf_adds(out, "{}");
}

/* ---- words ------------------------------------------------------------------------------------- */

static bool say(const struct search_tree *t, unsigned at, bool within, struct buf *out);

static bool say_levels(unsigned levels, struct buf *out)
{
	bool first = true, ok = buf_adds(out, levels ? "level " : "no level");

	for (int i = 0; i < LOG_LEVELS && ok; i++)
		if (levels & (1u << i)) {
			ok = buf_addf(out, "%s%s", first ? "" : " or ", log_level_names[i]);
			first = false;
		}
	return ok;
}

static bool say_value(const struct search_node *node, const char *before, struct buf *out)
{
	size_t len = node->len - (node->op[0] == '^' ? 1 : 0);

	return buf_addf(out, "%s\"", before) && buf_add(out, node->value, len) && buf_addc(out, '"');
}

static bool say_field(const struct search_node *node, struct buf *out)
{
	static const struct { const char *column, *said; } names[] = {
		{ "app_name", "application" }, { "vps_name", "server" }, { "logger", "logger" },
	};
	static const struct { const char *op, *said; } ops[] = {
		{ "=", " is " }, { "^", " begins with " }, { "<", " below " }, { "<=", " at most " },
		{ ">", " above " }, { ">=", " at least " },
	};
	bool ok = true;

	if (node->kind == NODE_CONTEXT)
		ok = buf_adds(out, "context ") && buf_add(out, node->key, node->key_len);
	for (size_t i = 0; i < sizeof names / sizeof names[0] && node->kind == NODE_COLUMN; i++)
		if (strcmp(names[i].column, node->key) == 0)
			ok = buf_adds(out, names[i].said);
	if (strcmp(node->op, "=*") == 0)
		return ok && buf_adds(out, " exists");
	for (size_t i = 0; i < sizeof ops / sizeof ops[0] && ok; i++)
		if (strcmp(ops[i].op, node->op) == 0)
			return say_value(node, ops[i].said, out);
	return ok;
}

static bool say_parts(const struct search_tree *t, const struct search_node *node, bool within,
		      struct buf *out)
{
	const char *between = node->kind == NODE_AND ? " and " : " or ";
	bool ok = !within || buf_addc(out, '(');

	for (unsigned k = node->first; k && ok; k = t->node[k].next)
		ok = (k == node->first || buf_adds(out, between)) && say(t, k, true, out);
	return ok && (!within || buf_addc(out, ')'));
}

static bool say(const struct search_tree *t, unsigned at, bool within, struct buf *out)
{
	const struct search_node *node = &t->node[at];

	switch (node->kind) {
	case NODE_AND:
	case NODE_OR: return say_parts(t, node, within, out);
	case NODE_NOT: return buf_adds(out, "not ") && say(t, node->first, true, out);
	case NODE_TEXT: return say_value(node, node->quoted ? "the text " : "words ", out);
	case NODE_LEVELS: return say_levels(node->levels, out);
	case NODE_COLUMN:
	case NODE_CONTEXT: return say_field(node, out);
	case NODE_NONE: break;
	}
	return true;
}

bool search_write(const struct search_tree *t, struct search *s)
{
	return write_node(t, t->root, &s->tree) && say(t, t->root, false, &s->understood);
}
