#include <stdio.h>
#include <strings.h>

#include "common/utf8.h"
#include "search_read.h"

void search_note(struct reader *r, struct text what, const char *why)
{
	enum { NOTED_MAX = 80 };

	if (!r->s->note[0])
		snprintf(r->s->note, sizeof r->s->note, "%.*s%s%s",
			 (int)utf8_cut(what.s, what.len, NOTED_MAX), what.len ? what.s : "",
			 what.len ? " " : "", why);
}

unsigned search_add_node(struct reader *r, enum search_kind kind)
{
	if (r->t->n >= SEARCH_NODES_MAX)
		return 0;
	r->t->node[r->t->n].kind = kind;
	return r->t->n++;
}

/* ---- terms ------------------------------------------------------------------------------------- */

/* A piece of the query: a word or quoted text, with what stood before it if it is a field. */
struct piece {
	size_t start;
	struct text op;                 /* of a field; absent for words */
	bool quoted, cut;
	char name[SEARCH_TERM_LEN + 1], value[SEARCH_TERM_LEN + 1];
	size_t name_len, len;
};

/* Append a byte; drop the tail of what is too long, whole characters at a time. */
static void put(char *to, size_t *len, bool *cut, char c)
{
	if (*cut)
		return;
	if (*len < SEARCH_TERM_LEN) {
		to[(*len)++] = c;
		return;
	}
	*cut = true;
	if ((c & 0xc0) != 0x80)
		return;
	while ((to[--*len] & 0xc0) == 0x80)
		;
}

/* "..." with \" and \\ inside; one that is not closed ends with the query. */
static void read_quoted(struct reader *r, char *to, size_t *len, bool *cut)
{
	size_t start = r->i++;

	for (; !at_end(r) && peek(r) != '"'; r->i++) {
		if (peek(r) == '\\' && r->i + 1 < r->q.len && strchr("\"\\", r->q.s[r->i + 1]))
			r->i++;
		put(to, len, cut, peek(r));
	}
	if (at_end(r))
		search_note(r, search_since(r, start), "has no quote at its end");
	else
		r->i++;
}

/* Up to a blank, or a ')' that closes a group. */
static void read_word(struct reader *r, struct piece *p)
{
	for (int inner = 0; !at_end(r) && !blank(peek(r)); r->i++) {
		if (peek(r) == '(')
			inner++;
		else if (peek(r) == ')' && --inner < 0 && r->depth > 0)
			return;
		put(p->value, &p->len, &p->cut, peek(r));
	}
}

static const struct { const char *name, *column; } columns[] = {
	{ "app", "app_name" }, { "vps", "vps_name" }, { "server", "vps_name" }, { "host", "vps_name" },
	{ "logger", "logger" },
};

static const char *column_of(const struct piece *p)
{
	for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
		if (strcasecmp(columns[i].name, p->name) == 0)
			return columns[i].column;
	return NULL;
}

/* The key of ctx.KEY or ctx."any key"; NULL for other names. */
static const char *context_key(const struct piece *p)
{
	return p->name_len > 4 && strncasecmp(p->name, "ctx.", 4) == 0 ? p->name + 4 : NULL;
}

/* The operator at i: : = < > <= >= != ; its length, 0 for none. */
static size_t operator_at(const struct reader *r, size_t i)
{
	char c = i < r->q.len ? r->q.s[i] : '\0', next = i + 1 < r->q.len ? r->q.s[i + 1] : '\0';

	if (c == '!')
		return next == '=' ? 2 : 0;
	if (!c || !strchr(":=<>", c))
		return 0;
	return next == '=' && c != '=' ? 2 : 1;
}

/* The field's name and operator, if they stand here and a value follows. */
static void read_field(struct reader *r, struct piece *p)
{
	size_t start = r->i, op;
	bool cut = false;

	while (!at_end(r) && !blank(peek(r)) && !strchr("\"", peek(r)) && !operator_at(r, r->i))
		put(p->name, &p->name_len, &cut, r->q.s[r->i++]);
	if (peek(r) == '"' && p->name_len == 4 && strncasecmp(p->name, "ctx.", 4) == 0)
		read_quoted(r, p->name, &p->name_len, &cut);
	p->name[p->name_len] = '\0';
	op = operator_at(r, r->i);
	if (op && !cut && r->i + op < r->q.len && !blank(r->q.s[r->i + op]) &&
	    (column_of(p) || context_key(p) || strcasecmp(p->name, "level") == 0)) {
		p->op = (struct text){ r->q.s + r->i, op };
		r->i += op;
		return;
	}
	r->i = start;
	p->name_len = 0;
}

static void read_piece(struct reader *r, struct piece *p)
{
	*p = (struct piece){ .start = r->i };
	read_field(r, p);
	if (peek(r) == '"') {
		p->quoted = true;
		read_quoted(r, p->value, &p->len, &p->cut);
	} else {
		read_word(r, p);
	}
	p->value[p->len] = '\0';
	if (p->cut)
		search_note(r, search_since(r, p->start), "is too long; its beginning was searched");
}

/* ---- what pieces become ------------------------------------------------------------------------ */

unsigned search_add_text(struct reader *r, const char *value, size_t len, bool quoted)
{
	unsigned at = search_add_node(r, NODE_TEXT);
	struct search_node *node = &r->t->node[at];

	if (!at)
		return 0;
	memcpy(node->value, value, len);
	node->len = len;
	node->quoted = quoted;
	return at;
}

/* A piece that was meant as a field and is none. */
static unsigned add_as_text(struct reader *r, const struct piece *p, const char *why)
{
	size_t len = utf8_cut(r->q.s + p->start, r->i - p->start, SEARCH_TERM_LEN);

	search_note(r, search_since(r, p->start), why);
	return search_add_text(r, r->q.s + p->start, len, false);
}

/* The level a word names: by its name, a beginning of it ("warn", "crit"), or a
 * common other name. -1 when it names none. */
static int level_of(const struct piece *p)
{
	static const struct { const char *name; int level; } others[] = {
		{ "FATAL", LEVEL_CRITICAL }, { "ERR", LEVEL_ERROR }, { "NOTICE", LEVEL_INFO },
	};

	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (strcasecmp(others[i].name, p->value) == 0)
			return others[i].level;
	for (int i = 0; i < LOG_LEVELS && p->len >= 3; i++)
		if (p->len <= strlen(log_level_names[i]) &&
		    strncasecmp(log_level_names[i], p->value, p->len) == 0)
			return i;
	return -1;
}

/* The levels that "OP level" takes in. */
static unsigned level_mask(struct text op, int level)
{
	unsigned at = 1u << level, below = at - 1;

	if (op.s[0] == '>')
		return SEARCH_ANY_LEVEL & ~(op.len == 2 ? below : below | at);
	if (op.s[0] == '<')
		return op.len == 2 ? below | at : below;
	return at;
}

static bool compares(const struct piece *p)
{
	return p->op.s[0] == '<' || p->op.s[0] == '>';
}

static unsigned add_level(struct reader *r, const struct piece *p)
{
	int level = level_of(p);
	bool any = p->len == 1 && p->value[0] == '*' && !p->quoted;
	unsigned at;

	if (level < 0 && !any)
		return add_as_text(r, p, "names no level; searched as words");
	at = search_add_node(r, NODE_LEVELS);
	r->t->node[at].levels = any ? SEARCH_ANY_LEVEL : level_mask(p->op, level);
	r->t->node[at].named = !compares(p);
	return at;
}

/* A value that can be compared: a number, or a time that begins with a date. */
static bool comparable(const struct piece *p)
{
	size_t i = p->len && strchr("+-", p->value[0]) ? 1 : 0;
	size_t digits = strspn(p->value + i, "0123456789.eE+-");

	if (i + digits == p->len && strcspn(p->value + i, "0123456789") <= 1 && p->len > i)
		return true;
	return p->len >= 10 && strspn(p->value, "0123456789") == 4 && p->value[4] == '-' &&
	       strspn(p->value, "0123456789-:.,TtZz+ UC") == p->len;
}

static void set_op(struct search_node *node, const struct piece *p)
{
	bool star = !p->quoted && p->len && p->value[p->len - 1] == '*';
	const char *op = star ? p->len == 1 ? "=*" : "^" : "=";

	if (p->cut && !compares(p))
		op = "^";
	if (compares(p))
		snprintf(node->op, sizeof node->op, "%.*s", (int)p->op.len, p->op.s);
	else
		memcpy(node->op, op, strlen(op) + 1);
}

static unsigned add_field(struct reader *r, const struct piece *p)
{
	const char *column = column_of(p), *key = context_key(p);
	struct search_node *node;
	unsigned at;

	if (strcasecmp(p->name, "level") == 0)
		return add_level(r, p);
	if (compares(p) && (column || !comparable(p)))
		return add_as_text(r, p, column ? "cannot be compared; searched as words" :
			"is compared with neither a number nor a time; searched as words");
	at = search_add_node(r, column ? NODE_COLUMN : NODE_CONTEXT);
	node = &r->t->node[at];
	if (!at)
		return 0;
	set_op(node, p);
	node->key_len = column ? strlen(column) : p->name_len - 4;
	memcpy(node->key, column ? column : key, node->key_len);
	memcpy(node->value, p->value, p->len);
	node->len = p->len;
	if (p->cut && node->op[0] == '^')
		node->value[node->len++] = '*';
	return at;
}

/* What is looked for in the texts of lines is marked there. */
static void mark(struct reader *r, const struct search_node *node)
{
	struct search_term *term = &r->s->term[r->s->n_terms++];

	memcpy(term->s, node->value, node->len);
	term->len = node->len;
	term->prefix = !node->quoted || node->cut;
}

unsigned search_negate(struct reader *r, unsigned part)
{
	unsigned at = search_add_node(r, NODE_NOT);

	r->t->node[at].first = at ? part : 0;
	return at;
}

unsigned search_read_term(struct reader *r, bool negated)
{
	struct piece p;
	unsigned at;

	if (peek(r) == '(')
		search_note(r, search_since(r, r->i), "( within more than 8 groups; searched as a word");
	read_piece(r, &p);
	if (p.op.s)
		at = add_field(r, &p);
	else if (p.len)
		at = search_add_text(r, p.value, p.len, p.quoted);
	else
		return 0;
	if (at && r->t->node[at].kind == NODE_TEXT)
		r->t->node[at].cut = p.cut;
	if (at && r->t->node[at].kind == NODE_TEXT && !negated)
		mark(r, &r->t->node[at]);
	return at && p.op.s && p.op.s[0] == '!' ? search_negate(r, at) : at;
}
