#include "search.h"

#include <stdio.h>
#include <strings.h>

#include "common/utf8.h"
#include "search_tree.h"

/* What is left to read. */
struct reader {
	struct text q;
	size_t i;
	int depth;                      /* open groups */
	int n_terms;
	bool memory;                    /* there is room for more nodes and terms */
	struct search_tree *t;
	struct search *s;
};

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool at_end(const struct reader *r)
{
	return r->i >= r->q.len;
}

static char peek(const struct reader *r)
{
	return at_end(r) ? '\0' : r->q.s[r->i];
}

static void skip_blanks(struct reader *r)
{
	while (!at_end(r) && blank(peek(r)))
		r->i++;
}

/* The first thing that was not understood as meant is the one that is told. */
static void note(struct reader *r, struct text what, const char *why)
{
	enum { NOTED_MAX = 80 };

	if (!r->s->note[0])
		snprintf(r->s->note, sizeof r->s->note, "%.*s%s%s", (int)utf8_cut(what.s, what.len, NOTED_MAX),
			 what.len ? what.s : "", what.len ? " " : "", why);
}

/* ---- nodes ------------------------------------------------------------------------------------- */

/* A new node; 0 when there are too many. */
static unsigned add_node(struct reader *r, enum search_kind kind)
{
	if (r->t->n >= SEARCH_NODES_MAX)
		return 0;
	r->t->node[r->t->n].kind = kind;
	return r->t->n++;
}

static void append(struct search_tree *t, unsigned parent, unsigned part)
{
	unsigned *end = &t->node[parent].first;

	while (*end)
		end = &t->node[*end].next;
	*end = part;
}

/* Two parts of an AND that mean either: equality with the same field. */
static bool alike(const struct search_node *a, const struct search_node *b)
{
	if (a->kind == NODE_LEVELS || a->kind != b->kind)
		return a->kind == b->kind && a->named && b->named;
	return (a->kind == NODE_COLUMN || a->kind == NODE_CONTEXT) && strchr("=^", a->op[0]) &&
	       strchr("=^", b->op[0]) && strcmp(a->key, b->key) == 0;
}

/* Add a part to an AND, or to the part of it that has the same field. */
static void append_to_and(struct reader *r, unsigned and, unsigned part)
{
	struct search_tree *t = r->t;
	unsigned *at = &t->node[and].first, either;

	for (; *at; at = &t->node[*at].next) {
		struct search_node *old = &t->node[*at];

		if (old->kind == NODE_OR && old->named && alike(&t->node[old->first], &t->node[part])) {
			append(t, *at, part);
			return;
		}
		if (!alike(old, &t->node[part]))
			continue;
		old->levels |= t->node[part].levels;
		if (old->kind == NODE_LEVELS || !(either = add_node(r, NODE_OR)))
			return;
		t->node[either] = (struct search_node){ .kind = NODE_OR, .named = true, .first = *at,
							 .next = old->next };
		old->next = part;
		*at = either;
		return;
	}
	*at = part;
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

static struct text whole(const struct reader *r, size_t start)
{
	return (struct text){ r->q.s + start, r->i - start };
}

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
		note(r, whole(r, start), "has no quote at its end");
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
		note(r, whole(r, p->start), "is too long; its beginning was searched");
}

/* ---- what pieces become ------------------------------------------------------------------------ */

static unsigned add_text(struct reader *r, const char *value, size_t len, bool quoted)
{
	unsigned at = add_node(r, NODE_TEXT);
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

	note(r, whole(r, p->start), why);
	return add_text(r, r->q.s + p->start, len, false);
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
	at = add_node(r, NODE_LEVELS);
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
	at = add_node(r, column ? NODE_COLUMN : NODE_CONTEXT);
	node = &r->t->node[at];
	if (!at)
		return 0;
	set_op(node, p);
	node->key_len = column ? strlen(column) : p->name_len - 4;
	memcpy(node->key, column ? column : key, node->key_len);
	memcpy(node->value, p->value, p->len);
	node->len = p->len;
	return at;
}

/* What is looked for in the texts of lines is marked there. */
static void mark(struct reader *r, const struct search_node *node)
{
	struct search_term *term = &r->s->term[r->s->n_terms++];

	memcpy(term->s, node->value, node->len);
	term->len = node->len;
	term->prefix = !node->quoted;
}

static unsigned negate(struct reader *r, unsigned part)
{
	unsigned at = add_node(r, NODE_NOT);

	r->t->node[at].first = at ? part : 0;
	return at;
}

static unsigned read_term(struct reader *r, bool negated)
{
	struct piece p;
	unsigned at;

	if (peek(r) == '(')
		note(r, whole(r, r->i), "( within more than 8 groups; searched as a word");
	read_piece(r, &p);
	if (p.op.s)
		at = add_field(r, &p);
	else if (p.len)
		at = add_text(r, p.value, p.len, p.quoted);
	else
		return 0;
	if (at && r->t->node[at].kind == NODE_TEXT && !negated)
		mark(r, &r->t->node[at]);
	return at && p.op.s && p.op.s[0] == '!' ? negate(r, at) : at;
}

/* ---- grammar ----------------------------------------------------------------------------------- */

static unsigned read_or(struct reader *r, bool negated);

/* Does this word stand here, alone? */
static bool at_keyword(const struct reader *r, const char *word, bool any_case)
{
	size_t n = strlen(word), end = r->i + n;
	bool bounded = end >= r->q.len || blank(r->q.s[end]) || (r->q.s[end] == ')' && r->depth > 0) ||
		       r->q.s[end] == '(';

	return end <= r->q.len && bounded &&
	       (any_case ? strncasecmp(r->q.s + r->i, word, n) : strncmp(r->q.s + r->i, word, n)) == 0;
}

static bool at_or(const struct reader *r)
{
	return at_keyword(r, "OR", true) || at_keyword(r, "|", true);
}

static bool at_close(const struct reader *r)
{
	return peek(r) == ')' && r->depth > 0;
}

/* A minus and a number, alone: a text. */
static bool at_negative_number(const struct reader *r)
{
	size_t i = r->i + 1;

	while (i < r->q.len && strchr("0123456789.", r->q.s[i]))
		i++;
	return i > r->i + 1 && r->q.s[r->i + 1] != '.' && r->q.s[i - 1] != '.' &&
	       (i == r->q.len || blank(r->q.s[i]) || (r->q.s[i] == ')' && r->depth > 0));
}

/* A minus that negates: something other than minuses follows. */
static bool at_minus(const struct reader *r)
{
	size_t i = r->i;

	while (i < r->q.len && r->q.s[i] == '-')
		i++;
	return i > r->i && i < r->q.len && !blank(r->q.s[i]) && !(r->q.s[i] == ')' && r->depth > 0) &&
	       !at_negative_number(r);
}

/* Read the NOTs and minuses here; true when their number is odd. */
static bool read_nots(struct reader *r)
{
	bool negated = false;

	for (;;) {
		size_t start = r->i;

		if (at_keyword(r, "NOT", false))
			r->i += 3;
		else if (at_minus(r))
			r->i++;
		else
			return negated;
		negated = !negated;
		skip_blanks(r);
		if (at_end(r) || at_close(r) || at_or(r) || at_keyword(r, "AND", false)) {
			note(r, whole(r, start), "has nothing behind it; left out");
			return false;
		}
	}
}

static unsigned read_group(struct reader *r, bool negated)
{
	size_t start = r->i++;
	unsigned at;

	r->depth++;
	at = read_or(r, negated);
	r->depth--;
	if (at_end(r))
		note(r, whole(r, start), "has no ) at its end");
	else
		r->i++;
	if (!at)
		note(r, whole(r, start), "is empty; left out");
	return at;
}

/* A number with a minus is a text as it stands: a negative number in the line. */
static unsigned read_number(struct reader *r, bool negated)
{
	unsigned at = read_term(r, negated);

	r->t->node[at].quoted = at != 0;
	return at;
}

static unsigned read_unary(struct reader *r, bool outside)
{
	bool negated = read_nots(r);
	unsigned at;

	if (at_end(r) || at_close(r) || at_or(r) || at_keyword(r, "AND", false))
		return 0;
	if (++r->n_terms > SEARCH_TERMS_MAX) {
		note(r, (struct text){ r->q.s + r->i, r->q.len - r->i },
		     "and what follows is more than 32 terms; left out");
		r->i = r->q.len;
		return 0;
	}
	if (peek(r) == '(' && r->depth < SEARCH_DEPTH_MAX)
		at = read_group(r, outside != negated);
	else if (peek(r) == '-' && at_negative_number(r))
		at = read_number(r, outside != negated);
	else
		at = read_term(r, outside != negated);
	return at && negated ? negate(r, at) : at;
}

/* One part stands for itself. */
static unsigned only_part(const struct search_tree *t, unsigned at)
{
	unsigned first = t->node[at].first;

	return first && !t->node[first].next ? first : first ? at : 0;
}

static unsigned read_and(struct reader *r, bool negated)
{
	unsigned and = add_node(r, NODE_AND), part;
	bool dangling = false;

	for (skip_blanks(r); and && !at_end(r) && !at_close(r) && !at_or(r); skip_blanks(r)) {
		size_t start = r->i;

		if (at_keyword(r, "AND", false)) {
			r->i += 3;
			if (!r->t->node[and].first || dangling)
				note(r, whole(r, start), "has nothing before it; left out");
			dangling = true;
			continue;
		}
		part = read_unary(r, negated);
		if (part)
			append_to_and(r, and, part);
		dangling = dangling && !part;
	}
	if (dangling)
		note(r, TEXT("AND"), "has nothing behind it; left out");
	return only_part(r->t, and);
}

static unsigned read_or(struct reader *r, bool negated)
{
	unsigned or = add_node(r, NODE_OR), part;

	for (;;) {
		size_t start;

		part = read_and(r, negated);
		if (part)
			append(r->t, or, part);
		start = r->i;
		if (!or || at_end(r) || at_close(r))
			break;
		r->i += peek(r) == '|' ? 1 : 2;
		if (!part)
			note(r, whole(r, start), "has nothing before it; left out");
		skip_blanks(r);
		if (at_end(r) || at_close(r))
			note(r, whole(r, start), "has nothing behind it; left out");
	}
	return only_part(r->t, or);
}

/* ---- the whole --------------------------------------------------------------------------------- */

static void read_query(struct reader *r)
{
	r->t->n = 1;
	r->t->root = read_or(r, false);
	r->i = 0;
	skip_blanks(r);
	if (r->t->root || at_end(r))
		return;
	r->t->n = 1;                    /* nothing but operators: not everything */
	r->t->root = add_text(r, r->q.s + r->i, utf8_cut(r->q.s + r->i, r->q.len - r->i, SEARCH_TERM_LEN), true);
	note(r, (struct text){ r->q.s, r->q.len }, "is searched as text");
}

bool search_parse(struct search *s, struct text query)
{
	enum { JSON_MAX = 16 * SEARCH_TEXT_MAX };
	struct search_tree t = { 0 };
	struct reader r = { .q = query, .t = &t, .s = s };

	memset(s, 0, sizeof *s);
	s->tree = s->understood = BUF(JSON_MAX);
	if (query.len > SEARCH_TEXT_MAX) {
		r.q.len = utf8_cut(query.s, query.len, SEARCH_TEXT_MAX);
		snprintf(s->note, sizeof s->note,
			 "The search is longer than %d bytes; its beginning was searched", SEARCH_TEXT_MAX);
	}
	read_query(&r);
	return search_write(&t, s) && buf_cstr(&s->tree) && buf_cstr(&s->understood);
}

void search_free(struct search *s)
{
	buf_free(&s->tree);
	buf_free(&s->understood);
}
