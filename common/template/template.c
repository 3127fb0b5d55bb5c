#include "template.h"

#include <errno.h>
#include <json-c/json.h>

#include "common/cleanup.h"
#include "common/utf8.h"
#include "common/visible.h"
#include "template_parse.h"

enum {
	PARTIALS_MAX = 64,              /* different (name, indentation) pairs in one rendering */
	ARENA_SIZE = 2 * 1024 * 1024,
	INSTEAD_MAX = 24,               /* bytes that stand for one character */
};

struct cached {
	struct text name, indent;
	struct program program;
};

struct frame {
	struct json_object *value;      /* NULL is JSON's null */
	const struct frame *up;
};

struct render {
	const struct template_env *env;
	struct err *e;
	struct arena arena;             /* names and indented partials */
	struct cached partials[PARTIALS_MAX];
	size_t n_partials;
	bool raw;                       /* inside a formatter: escaping comes later */
	int depth;
	size_t sections;                /* rendered so far */
};

/* ---- escaping ------------------------------------------------------------------- */

static const char *entity(char c)
{
	switch (c) {
	case '&':  return "&amp;";
	case '<':  return "&lt;";
	case '>':  return "&gt;";
	case '"':  return "&quot;";
	case '\'': return "&#39;";
	default:   return NULL;
	}
}

/* A control character of ASCII as its picture (U+2400 ...), others by their number, so that
 * they are seen and harmless. */
static size_t shown_hidden(char to[INSTEAD_MAX], uint32_t c)
{
	if (c < 0x80)
		return utf8_encode(to, 0x2400 + (c == 0x7f ? 0x21 : c));
	return (size_t)snprintf(to, INSTEAD_MAX, "\u27e8U+%04X\u27e9", (unsigned)c);
}

/* What stands instead of the character at t.s[i], 0 bytes when it stands for itself; *ret_len
 * is the length of the character. */
static size_t instead_of(struct text t, size_t i, char to[INSTEAD_MAX], size_t *ret_len)
{
	const char *name = entity(t.s[i]);
	uint32_t c;
	size_t n;

	*ret_len = 1;
	if (name)
		return (size_t)snprintf(to, INSTEAD_MAX, "%s", name);
	n = visible_hidden(t, i, &c);
	if (n == 0)
		return 0;
	*ret_len = n;
	return shown_hidden(to, c);
}

/* Most characters are letters of ASCII: spare them the look at the tables. */
static bool plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '&' && c != '<' && c != '>' && c != '"' && c != '\'';
}

bool template_escape(struct buf *out, struct text t)
{
	size_t mark = out->len, from = 0, n;
	char instead[INSTEAD_MAX];
	bool ok = true;

	for (size_t i = 0; i < t.len && ok; i += n) {
		size_t len = plain((unsigned char)t.s[i]) ? 0 : instead_of(t, i, instead, &n);

		if (len == 0) {
			n = 1;
			continue;
		}
		ok = buf_add(out, t.s + from, i - from) && buf_add(out, instead, len);
		from = i + n;
	}
	ok = ok && buf_add(out, t.s + from, t.len - from);
	if (!ok)
		out->len = mark;
	return ok;
}

/* ---- looking things up ---------------------------------------------------------------- */

static bool member(struct json_object *o, const char *name, struct json_object **ret)
{
	return json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, name, ret);
}

/* The part of a dotted name up to the next point, terminated in `part`. */
static const char *next_part(const char *name, char part[TEMPLATE_NAME_MAX + 1])
{
	size_t n = strcspn(name, ".");

	memcpy(part, name, n);
	part[n] = '\0';
	return name[n] ? name + n + 1 : NULL;
}

/* NULL for what is absent as for what is null: both are falsy and show nothing. */
static struct json_object *lookup(const struct frame *top, const char *name)
{
	char part[TEMPLATE_NAME_MAX + 1];
	struct json_object *v = NULL;
	const char *rest;

	if (name[0] == '.' && !name[1])
		return top->value;
	rest = next_part(name, part);
	for (; top; top = top->up)
		if (member(top->value, part, &v))
			break;
	while (rest && v) {
		rest = next_part(rest, part);
		if (!member(v, part, &v))
			return NULL;
	}
	return v;
}

static bool truthy(struct json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_null:    return false;
	case json_type_boolean: return json_object_get_boolean(v);
	case json_type_string:  return json_object_get_string_len(v) > 0;
	case json_type_array:   return json_object_array_length(v) > 0;
	default:                return true;
	}
}

static int too_big(struct render *r)
{
	return err_set(r->e, EFBIG, "the page is larger than its limit");
}

/* ---- rendering ---------------------------------------------------------------------------- */

static int render_nodes(struct render *r, const struct program *g, size_t from, size_t to,
			const struct frame *top, struct buf *out);

static int emit(struct render *r, struct text t, bool raw, struct buf *out)
{
	bool (*escape)(struct buf *, struct text) = r->env->escape ? r->env->escape : template_escape;
	bool ok = raw || r->raw ? buf_add(out, t.s, t.len) : escape(out, t);

	return ok ? 0 : too_big(r);
}

static int render_value(struct render *r, struct json_object *v, bool raw, struct buf *out)
{
	struct text t;

	if (!v)
		return 0;
	t.s = json_object_get_string(v);
	if (!t.s)
		return err_set(r->e, ENOMEM, "out of memory");
	t.len = json_object_is_type(v, json_type_string) ? (size_t)json_object_get_string_len(v)
							 : strlen(t.s);
	return emit(r, t, raw, out);
}

static int render_section(struct render *r, const struct program *g, size_t i,
			  const struct frame *top, struct buf *out)
{
	const struct node *n = &g->node[i];
	struct json_object *v = lookup(top, n->text.s);
	bool list = json_object_is_type(v, json_type_array);
	size_t times = list ? json_object_array_length(v) : truthy(v) ? 1 : 0;

	if (n->kind == NODE_INVERTED)
		return truthy(v) ? 0 : render_nodes(r, g, i + 1, n->end, top, out);
	for (size_t k = 0; k < times; k++) {
		struct frame frame = { list ? json_object_array_get_idx(v, k) : v, top };
		int rc;

		if (r->env->sections_max && ++r->sections > r->env->sections_max)
			return err_set(r->e, E2BIG, "sections repeat more than %zu times",
				       r->env->sections_max);
		rc = render_nodes(r, g, i + 1, n->end, &frame, out);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int render_format(struct render *r, const struct program *g, size_t i,
			 const struct frame *top, struct buf *out)
{
	const struct node *n = &g->node[i];
	CLEANUP(buf_free) struct buf in = BUF(out->max), formatted = BUF(out->max);
	bool raw = r->raw;
	int rc;

	r->raw = true;
	rc = render_nodes(r, g, i + 1, n->end, top, &in);
	r->raw = raw;
	if (rc < 0)
		return rc;
	if (!n->format(r->env->ctx, (struct text){ in.data ? in.data : "", in.len }, &formatted))
		return too_big(r);
	return emit(r, (struct text){ formatted.data, formatted.len }, false, out);
}

/* The partial's text with the indentation before each line. */
static int indented(struct render *r, struct text src, struct text indent, struct text *ret)
{
	size_t lines = 1, len = 0;
	char *to;

	for (size_t i = 0; i < src.len; i++)
		lines += src.s[i] == '\n';
	if (src.len > TEMPLATE_TEXT_MAX || indent.len > TEMPLATE_TEXT_MAX / lines)
		return too_big(r);
	to = arena_alloc(&r->arena, src.len + lines * indent.len + 1);
	if (!to)
		return too_big(r);
	for (size_t i = 0; i < src.len; i++) {
		if (i == 0 || src.s[i - 1] == '\n') {
			memcpy(to + len, indent.s, indent.len);
			len += indent.len;
		}
		to[len++] = src.s[i];
	}
	*ret = (struct text){ to, len };
	return 0;
}

static int find_partial(struct render *r, const struct node *n, const struct program **ret)
{
	struct text src = r->env->partial ? r->env->partial(r->env->ctx, n->text) : (struct text){ NULL, 0 };
	struct cached *c;
	int rc = 0;

	for (size_t i = 0; i < r->n_partials; i++)
		if (text_eq(r->partials[i].name, n->text) && text_eq(r->partials[i].indent, n->indent)) {
			*ret = &r->partials[i].program;
			return 0;
		}
	if (r->n_partials == PARTIALS_MAX)
		return err_set(r->e, E2BIG, "more than %d partials in a page", PARTIALS_MAX);
	c = &r->partials[r->n_partials++];
	c->name = n->text;
	c->indent = n->indent;
	if (n->indent.len)
		rc = indented(r, src, n->indent, &src);
	*ret = &c->program;
	return rc < 0 ? rc : template_parse(src, &r->arena, r->env, &c->program, r->e);
}

static int render_node(struct render *r, const struct program *g, size_t i,
		       const struct frame *top, struct buf *out)
{
	const struct node *n = &g->node[i];
	const struct program *partial = NULL;
	int rc;

	switch (n->kind) {
	case NODE_TEXT:     return emit(r, n->text, true, out);
	case NODE_VALUE:    return render_value(r, lookup(top, n->text.s), false, out);
	case NODE_RAW:      return render_value(r, lookup(top, n->text.s), true, out);
	case NODE_FORMAT:   return render_format(r, g, i, top, out);
	case NODE_SECTION:
	case NODE_INVERTED: return render_section(r, g, i, top, out);
	case NODE_PARTIAL:  break;
	}
	rc = find_partial(r, n, &partial);
	return rc < 0 ? rc : render_nodes(r, partial, 0, partial->n, top, out);
}

static int render_nodes(struct render *r, const struct program *g, size_t from, size_t to,
			const struct frame *top, struct buf *out)
{
	int rc = 0;

	if (++r->depth > TEMPLATE_DEPTH_MAX)
		rc = err_set(r->e, ELOOP, "sections and partials are nested more than %d deep",
			     TEMPLATE_DEPTH_MAX);
	for (size_t i = from; rc == 0 && i < to;) {
		rc = render_node(r, g, i, top, out);
		i = g->node[i].end > i ? g->node[i].end : i + 1;
	}
	r->depth--;
	return rc;
}

static void render_free(struct render *r)
{
	for (size_t i = 0; i < r->n_partials; i++)
		free(r->partials[i].program.node);
	arena_free(&r->arena);
}

static void program_free(struct program *g)
{
	free(g->node);
}

int template_render(struct text source, struct json_object *data, const struct template_env *env,
		    struct buf *out, struct err *e)
{
	CLEANUP(render_free) struct render r = { .env = env, .e = e, .arena = ARENA(ARENA_SIZE) };
	CLEANUP(program_free) struct program g = { 0 };
	struct frame top = { data, NULL };
	size_t mark = out->len;
	int rc;

	rc = template_parse(source, &r.arena, env, &g, e);
	if (rc == 0)
		rc = render_nodes(&r, &g, 0, g.n, &top, out);
	if (rc < 0)
		out->len = mark;
	return rc;
}
