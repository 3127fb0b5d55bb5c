/*
 * columns.h - the columns of a list of log lines, as the parameter "columns" of an address has them.
 *
 *	time,level,vps,app,logger,message,context,id,ctx.KEY,ctx."any key"
 *
 * Promises that a text which names no column gives one sentence, and that columns_read() reads what
 * columns_write() writes. What a line shows in them is in columns_view.h.
 */
#ifndef FLEET_HUB_COLUMNS_H
#define FLEET_HUB_COLUMNS_H

#include "common/buf.h"
#include "common/err.h"

enum {
	COLUMNS_MAX = 16,
	COLUMN_KEY_MAX = 200,           /* bytes, as SEARCH_TERM_LEN */
	COLUMN_NAME_SIZE = 2 * COLUMN_KEY_MAX + 8,
	COLUMNS_TEXT_MAX = COLUMNS_MAX * COLUMN_NAME_SIZE,
};

struct column {
	const char *member;             /* of a line; NULL: a key of the context */
	char key[COLUMN_KEY_MAX + 1];
	char name[COLUMN_NAME_SIZE];    /* as columns_read() reads it */
};

struct columns {
	struct column list[COLUMNS_MAX];
	size_t n;                       /* 0: nobody chose */
};

/* NULL and "" are no choice. On failure e->code is an HTTP status. */
int columns_read(struct columns *c, const char *value, struct err *e);
bool columns_write(struct buf *out, const struct columns *c);

bool columns_have(const struct columns *c, const struct column *x);

/* Take the column out, or put it in: before the message, which takes the rest of a row. */
void columns_toggle(struct columns *c, const struct column *x);

/* The columns that each line has: the one at i, below column_fields(). */
void column_of_field(struct column *c, size_t i);
size_t column_fields(void);

/* False for a key that is empty or too long. */
bool column_of_key(struct column *c, struct text key);
bool column_is(const struct column *c, const char *member);

/* What a heading says. */
const char *column_title(const struct column *c);

#endif
