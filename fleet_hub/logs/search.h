/*
 * search.h - the language of the log search box.
 *
 *	timeout "payment failed" -health (level>=error OR refused)
 *	app:billing -vps:fra-1 logger:http* ctx.user_id=123 ctx.ms>500 ctx."user id":*
 *
 *	query  = and { OR and }                         OR, or, |
 *	and    = unary { [AND] unary }
 *	unary  = { NOT | - } ( "(" query ")" | FIELD OP value | word | "quoted text" )
 *
 * Words match by their beginning, quoted text as it stands. -32601 is a text, since a number follows the
 * minus. A field given twice means either value. The values of app, vps (server, host), logger and ctx.KEY
 * may end with '*'; '*' alone asks whether there is one. level and ctx.KEY can be compared: < <= > >=.
 *
 * Promises that every text is a query, that a query which is not blank never means "everything", and that
 * `note` says what was not understood as meant.
 */
#ifndef FLEET_HUB_SEARCH_H
#define FLEET_HUB_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/text.h"

enum {
	SEARCH_TERMS_MAX = 32,
	SEARCH_DEPTH_MAX = 8,           /* groups within groups */
	SEARCH_TERM_LEN = 200,          /* bytes of one word, text, key or value */
	SEARCH_TEXT_MAX = 4096,         /* bytes of the whole query */
};

struct search_term {
	char s[SEARCH_TERM_LEN + 1];
	size_t len;
	bool prefix;
};

struct search {
	/* JSON for line_condition() in schema/35-search.sql: {"and": [tree ...]}, {"or": [...]},
	 * {"not": tree}, {"text": ..., "quoted": ..., "cut": true}, {"levels": [...]},
	 * {"column"|"context": name, "op": ..., "value": ...} with op = < <= > >=, ^ (begins with)
	 * or =* (exists). "cut": the text is the beginning of a longer one. {} finds everything. */
	struct buf tree;
	struct buf understood;                          /* the query in words; "" for a blank one */
	struct search_term term[SEARCH_TERMS_MAX];      /* what to mark in the result */
	size_t n_terms;
	char note[256];                                 /* what was not understood as meant; "" for nothing */
};

/* False only when memory is short. The bufs are terminated C strings on success. Free with search_free() in
 * either case. */
bool search_parse(struct search *s, struct text query);
void search_free(struct search *s);

/* The first match of any term in t at or after `from`; false when there is none. A word's match reaches to
 * the end of the word. */
bool search_find(const struct search *s, struct text t, size_t from, size_t *ret_start, size_t *ret_end);

#endif
