#include "search.h"

#include <stdio.h>
#include <strings.h>

#include "common/utf8.h"
#include "search_read.h"

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
	if (a->grouped || b->grouped)
		return false;
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

		if (old->kind == NODE_OR && old->named && !old->grouped &&
		    alike(&t->node[old->first], &t->node[part])) {
			append(t, *at, part);
			return;
		}
		if (!alike(old, &t->node[part]))
			continue;
		old->levels |= t->node[part].levels;
		if (old->kind == NODE_LEVELS || !(either = search_add_node(r, NODE_OR)))
			return;
		t->node[either] = (struct search_node){ .kind = NODE_OR, .named = true, .first = *at,
							 .next = old->next };
		old->next = part;
		*at = either;
		return;
	}
	*at = part;
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

static size_t digits_at(const struct reader *r, size_t i)
{
	size_t n = 0;

	while (i + n < r->q.len && r->q.s[i + n] >= '0' && r->q.s[i + n] <= '9')
		n++;
	return n;
}

/* A minus and a number, alone: a text. Several dots, as in an address, are taken for one. */
static bool at_negative_number(const struct reader *r)
{
	size_t i = r->i + 1, n;

	while ((n = digits_at(r, i)) > 0) {
		i += n;
		if (i == r->q.len || r->q.s[i] != '.' || digits_at(r, i + 1) == 0)
			break;
		i++;
	}
	if (i == r->i + 1)
		return false;
	if (i < r->q.len && (r->q.s[i] | 0x20) == 'e') {
		n = i + 1 < r->q.len && strchr("+-", r->q.s[i + 1]) ? 2 : 1;
		i = digits_at(r, i + n) ? i + n + digits_at(r, i + n) : i;
	}
	return i == r->q.len || blank(r->q.s[i]) || (r->q.s[i] == ')' && r->depth > 0);
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
			search_note(r, search_since(r, start), "has nothing behind it; left out");
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
		search_note(r, search_since(r, start), "has no ) at its end");
	else
		r->i++;
	if (!at)
		search_note(r, search_since(r, start), "is empty; left out");
	r->t->node[at].grouped = true;
	return at;
}

/* A number with a minus is a text as it stands: a negative number in the line. */
static unsigned read_number(struct reader *r, bool negated)
{
	unsigned at = search_read_term(r, negated);

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
		search_note(r, (struct text){ r->q.s + r->i, r->q.len - r->i },
		     "and what follows is more than 32 terms; left out");
		r->i = r->q.len;
		return 0;
	}
	if (peek(r) == '(' && r->depth < SEARCH_DEPTH_MAX)
		at = read_group(r, outside != negated);
	else if (peek(r) == '-' && at_negative_number(r))
		at = read_number(r, outside != negated);
	else
		at = search_read_term(r, outside != negated);
	return at && negated ? search_negate(r, at) : at;
}

/* One part stands for itself. */
static unsigned only_part(const struct search_tree *t, unsigned at)
{
	unsigned first = t->node[at].first;

	return first && !t->node[first].next ? first : first ? at : 0;
}

static unsigned read_and(struct reader *r, bool negated)
{
	unsigned and = search_add_node(r, NODE_AND), part;
	bool dangling = false;

	for (skip_blanks(r); and && !at_end(r) && !at_close(r) && !at_or(r); skip_blanks(r)) {
		size_t start = r->i;

		if (at_keyword(r, "AND", false)) {
			r->i += 3;
			if (!r->t->node[and].first || dangling)
				search_note(r, search_since(r, start), "has nothing before it; left out");
			dangling = true;
			continue;
		}
		part = read_unary(r, negated);
		if (part)
			append_to_and(r, and, part);
		dangling = dangling && !part;
	}
	if (dangling)
		search_note(r, TEXT("AND"), "has nothing behind it; left out");
	return only_part(r->t, and);
}

static unsigned read_or(struct reader *r, bool negated)
{
	unsigned or = search_add_node(r, NODE_OR), part;

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
			search_note(r, search_since(r, start), "has nothing before it; left out");
		skip_blanks(r);
		if (at_end(r) || at_close(r))
			search_note(r, search_since(r, start), "has nothing behind it; left out");
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
	r->s->note[0] = '\0';
	r->t->root = search_add_text(r, r->q.s + r->i,
				 utf8_cut(r->q.s + r->i, r->q.len - r->i, SEARCH_TERM_LEN), true);
	search_note(r, (struct text){ r->q.s, r->q.len }, "is searched as text");
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
