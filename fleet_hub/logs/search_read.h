/*
 * search_read.h - what search.c, the grammar, and search_term.c, the terms, share while they read a query.
 */
#ifndef FLEET_HUB_SEARCH_READ_H
#define FLEET_HUB_SEARCH_READ_H

#include "search_tree.h"

/* What is left to read. */
struct reader {
	struct text q;
	size_t i;
	int depth;                      /* open groups */
	int n_terms;
	struct search_tree *t;
	struct search *s;
};

static inline bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline bool at_end(const struct reader *r)
{
	return r->i >= r->q.len;
}

static inline char peek(const struct reader *r)
{
	return at_end(r) ? '\0' : r->q.s[r->i];
}

static inline void skip_blanks(struct reader *r)
{
	while (!at_end(r) && blank(peek(r)))
		r->i++;
}

/* What was read since `start`. */
static inline struct text search_since(const struct reader *r, size_t start)
{
	return (struct text){ r->q.s + start, r->i - start };
}

/* Remember the first thing that was not understood as meant. */
void search_note(struct reader *r, struct text what, const char *why);

/* A new node; 0 when there are too many. */
unsigned search_add_node(struct reader *r, enum search_kind kind);

/* A node of the text `value`, of at most SEARCH_TERM_LEN bytes; 0 when there are too many. */
unsigned search_add_text(struct reader *r, const char *value, size_t len, bool quoted);

/* NOT of a node; 0 when there are too many. */
unsigned search_negate(struct reader *r, unsigned part);

/* Read a word, quoted text or field; 0 for what is empty. A text that is not negated is remembered as
 * one to mark. */
unsigned search_read_term(struct reader *r, bool negated);

#endif
