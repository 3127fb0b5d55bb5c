#include "template_parse.h"

#include <errno.h>

enum { NODES_FIRST = 64 };

static const char open_tag[] = "{{", close_tag[] = "}}", close_raw[] = "}}}";

struct parser {
	struct arena *names;
	const struct template_env *env;
	struct err *e;
	struct program *out;
	struct text src;
	size_t at;                              /* next byte to read */
	size_t section[TEMPLATE_DEPTH_MAX];     /* indices of the open sections' nodes */
	size_t n_sections;
};

struct tag {
	char kind;              /* one of # ^ / > ! & { or v */
	struct text body;
	size_t start, end;      /* of the whole tag in the source */
};

static struct text trim(struct text t)
{
	while (t.len && strchr(" \t\r\n", t.s[0])) {
		t.s++;
		t.len--;
	}
	while (t.len && strchr(" \t\r\n", t.s[t.len - 1]))
		t.len--;
	return t;
}

static int add_node(struct parser *p, struct node node)
{
	struct program *g = p->out;

	if (g->n == g->room) {
		size_t room = g->room ? g->room * 2 : NODES_FIRST;
		struct node *more = realloc(g->node, room * sizeof *more);

		if (!more)
			return err_set(p->e, ENOMEM, "out of memory");
		g->node = more;
		g->room = room;
	}
	g->node[g->n++] = node;
	return 0;
}

static int add_text(struct parser *p, size_t from, size_t to)
{
	if (from >= to)
		return 0;
	return add_node(p, (struct node){ .kind = NODE_TEXT, .text = { p->src.s + from, to - from } });
}

/* The line on which the error is, for people. */
static size_t line_of(const struct parser *p, size_t at)
{
	size_t line = 1;

	for (size_t i = 0; i < at && i < p->src.len; i++)
		line += p->src.s[i] == '\n';
	return line;
}

static int syntax(struct parser *p, size_t at, const char *what)
{
	return err_set(p->e, EINVAL, "template line %zu: %s", line_of(p, at), what);
}

/* Where `needle` starts at or after `from`; src.len when it does not. */
static size_t find(struct text src, size_t from, const char *needle)
{
	const char *hit =
		from < src.len ? memmem(src.s + from, src.len - from, needle, strlen(needle)) : NULL;

	return hit ? (size_t)(hit - src.s) : src.len;
}

/* Read the tag that opens at p->at. */
static int read_tag(struct parser *p, struct tag *tag)
{
	size_t body = p->at + strlen(open_tag), end;
	char first = body < p->src.len ? p->src.s[body] : '\0';
	const char *close = first == '{' ? close_raw : close_tag;

	tag->start = p->at;
	end = find(p->src, body, close);
	if (end == p->src.len)
		return syntax(p, p->at, "a tag is not closed");
	if (first == '=')
		return syntax(p, p->at, "the delimiters of tags cannot be set");
	tag->kind = first && strchr("#^/>!&{", first) ? first : 'v';
	if ((first == '&' || first == '{') && !p->env->raw)
		return syntax(p, p->at, "a value without escaping is not allowed here");
	if (tag->kind != 'v')
		body++;
	tag->end = end + strlen(close);
	tag->body = trim((struct text){ p->src.s + body, end - body });
	return 0;
}

/* A tag that is alone on its line takes the line with it: give the bounds of
 * what it replaces. False when there is something else on the line. */
static bool standalone(const struct parser *p, const struct tag *tag, size_t *ret_from, size_t *ret_to)
{
	size_t from = tag->start, to = tag->end;

	if (strchr("v&{", tag->kind))
		return false;
	while (from > 0 && (p->src.s[from - 1] == ' ' || p->src.s[from - 1] == '\t'))
		from--;
	if (from > 0 && p->src.s[from - 1] != '\n')
		return false;
	while (to < p->src.len && (p->src.s[to] == ' ' || p->src.s[to] == '\t'))
		to++;
	if (to < p->src.len && p->src.s[to] == '\r')
		to++;
	if (to < p->src.len && p->src.s[to] != '\n')
		return false;
	*ret_from = from;
	*ret_to = to < p->src.len ? to + 1 : to;
	return true;
}

static bool is_formatter(struct text name)
{
	return name.len > 2 && name.s[0] == 'f' && name.s[1] == '.';
}

static int resolve_formatter(struct parser *p, const struct tag *tag, struct node *node)
{
	const struct template_env *env = p->env;
	struct text name = { node->text.s + 2, node->text.len - 2 };

	if (tag->kind != '#')
		return syntax(p, tag->start, "a formatter can only be a section");
	node->kind = NODE_FORMAT;
	node->format = env->formatter ? env->formatter(env->ctx, name) : NULL;
	if (!node->format)
		return syntax(p, tag->start, "no such formatter");
	return 0;
}

static int open_section(struct parser *p, const struct tag *tag, struct node node)
{
	int r = is_formatter(node.text) ? resolve_formatter(p, tag, &node) : 0;

	if (r < 0)
		return r;
	if (p->n_sections == TEMPLATE_DEPTH_MAX)
		return syntax(p, tag->start, "sections are nested too deeply");
	p->section[p->n_sections++] = p->out->n;
	return add_node(p, node);
}

static int close_section(struct parser *p, const struct tag *tag)
{
	struct node *node;

	if (p->n_sections == 0)
		return syntax(p, tag->start, "a section is closed that is not open");
	node = &p->out->node[p->section[--p->n_sections]];
	if (!text_eq(node->text, tag->body))
		return syntax(p, tag->start, "a section is closed by another name");
	node->end = p->out->n;
	return 0;
}

static int add_tag(struct parser *p, const struct tag *tag, struct text indent)
{
	struct node node = { .indent = indent };
	char *name;

	if (tag->kind == '!')
		return 0;
	if (tag->body.len == 0 || tag->body.len > TEMPLATE_NAME_MAX)
		return syntax(p, tag->start, "a tag has no name, or a very long one");
	if (tag->kind == '/')
		return close_section(p, tag);
	name = arena_dup(p->names, tag->body);
	if (!name)
		return err_set(p->e, EFBIG, "a template has too many names");
	node.text = (struct text){ name, tag->body.len };
	node.kind = tag->kind == '#' ? NODE_SECTION : tag->kind == '^' ? NODE_INVERTED
		    : tag->kind == '>' ? NODE_PARTIAL : tag->kind == 'v' ? NODE_VALUE : NODE_RAW;
	if (node.kind == NODE_SECTION || node.kind == NODE_INVERTED)
		return open_section(p, tag, node);
	return add_node(p, node);
}

static int parse_step(struct parser *p)
{
	size_t open = find(p->src, p->at, open_tag), from, to;
	struct text indent = { NULL, 0 };
	struct tag tag = { .kind = '\0' };
	int r;

	if (open == p->src.len) {
		r = add_text(p, p->at, p->src.len);
		p->at = p->src.len;
		return r;
	}
	size_t text_from = p->at;
	p->at = open;
	r = read_tag(p, &tag);
	if (r < 0)
		return r;
	from = tag.start;
	to = tag.end;
	if (standalone(p, &tag, &from, &to) && tag.kind == '>')
		indent = (struct text){ p->src.s + from, tag.start - from };
	/* The blanks before a standalone tag may belong to what was read already. */
	r = add_text(p, text_from, from);
	if (r == 0)
		r = add_tag(p, &tag, indent);
	p->at = to;
	return r;
}

int template_parse(struct text src, struct arena *names, const struct template_env *env, struct program *ret,
		   struct err *e)
{
	struct parser p = { .names = names, .env = env, .e = e, .out = ret, .src = src };
	int rc = 0;

	if (src.len > TEMPLATE_TEXT_MAX)
		return err_set(e, EFBIG, "a template is larger than %d bytes", TEMPLATE_TEXT_MAX);
	while (rc == 0 && p.at < src.len)
		rc = parse_step(&p);
	if (rc == 0 && p.n_sections)
		rc = err_set(e, EINVAL, "template: section \"%s\" is not closed",
			     ret->node[p.section[p.n_sections - 1]].text.s);
	return rc;
}
