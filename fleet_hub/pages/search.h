/*
 * search.h - the language of the log search box.
 *
 *	timeout "payment failed" -health error OR refused
 *	level:error level>=warning app:billing -vps:fra-1 logger:http ctx.user_id=123
 *
 * Words match by their beginning, quoted text as a phrase, '-' takes out, OR (or |) is
 * either side. A field given twice means either value; different fields must all fit.
 * server: and host: are other names of vps:. Promises that every text is a query:
 * what cannot be read as a filter is searched as a word, and a note says so.
 */
#ifndef FLEET_HUB_SEARCH_H
#define FLEET_HUB_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/level.h"
#include "common/text.h"

enum {
	SEARCH_TERMS_MAX = 32,
	SEARCH_TERM_LEN = 200,          /* bytes of one word, phrase or value */
	SEARCH_TEXT_MAX = 4096,         /* bytes of the whole query */
};

/* Which list a value of a field goes into. */
enum search_field { SEARCH_APP, SEARCH_VPS, SEARCH_LOGGER, SEARCH_FIELDS };

struct search_term {
	char s[SEARCH_TERM_LEN + 1];
	size_t len;
	bool prefix;
};

struct search {
	struct buf words;                               /* for to_tsquery('simple', ...); "" for none */
	unsigned levels;                                /* bit per level, TRACE is bit 0; all bits: any */
	struct buf only[SEARCH_FIELDS];                 /* PostgreSQL array literals; "{}" for none */
	struct buf not[SEARCH_FIELDS];
	struct buf context_only, context_not;           /* JSON: [{"key":...,"value":...}] */
	struct search_term term[SEARCH_TERMS_MAX];      /* what to mark in the result */
	size_t n_terms;
	char note[256];                                 /* what was not understood as meant; "" for nothing */
};

enum { SEARCH_ANY_LEVEL = (1 << LOG_LEVELS) - 1 };

/* False only when memory is short. All bufs are terminated C strings on success.
 * Free with search_free() in either case. */
bool search_parse(struct search *s, struct text query);
void search_free(struct search *s);

/*
 * The first match of any term in t at or after `from`; false when there is none. A
 * word's match reaches to the end of the word.
 */
bool search_find(const struct search *s, struct text t, size_t from, size_t *ret_start, size_t *ret_end);

#endif
