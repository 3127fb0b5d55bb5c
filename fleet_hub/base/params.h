/*
 * params.h - the parameters of a question, read from a request as a table says.
 *
 * A row of the table names a parameter of the address, the kind of its value and what it is
 * when it is absent; the order of the rows is the order of $1, $2 ... Owns what the values
 * point into. Promises that a value which is not of its kind gives one sentence that names
 * it and says how to write it. A kind is a function: pages have kinds of their own.
 */
#ifndef FLEET_HUB_PARAMS_H
#define FLEET_HUB_PARAMS_H

#include "common/arena.h"
#include "common/err.h"
#include "db.h"
#include "fleet_hub/http/http.h"

enum { PARAMS_LARGE = 2 };

/* What the answer will be. FORM_LIST is JSON of all rows. */
enum form { FORM_HTML, FORM_JSON, FORM_CSV, FORM_NDJSON, FORM_LIST, FORM_UNKNOWN };

/* What the request asks for, by format= or by Accept. */
enum form form_wanted(const struct request *r);

struct json_object;

/* Takes the cells that are shown of a row. */
typedef bool view_put(void *to, const struct db_cell *cell, size_t n);

/* What is shown of the rows, where a parameter says so; without it they are as they come. */
struct row_view {
	/* Hand the cells on that a file shows of a row; false when `put` takes no more. */
	bool (*row)(const void *ctx, const struct db_cell *cell, size_t n, view_put *put, void *to);
	/* Leave in the page's JSON what was chosen; false when nothing changed. */
	bool (*data)(const void *ctx, struct json_object *data);
	const void *ctx;
};

struct params {
	struct request *request;
	const char *rest;               /* of the path, where the route ends in '*' */
	enum form form;
	const char *v[DB_PARAMS_MAX];   /* text, or NULL for SQL's null */
	size_t n;
	struct json_object *body;       /* NULL until a kind wants it */
	const char *field;              /* of the body: what a refusal is about; NULL: none */
	struct row_view row_view;
	struct arena arena;
	struct buf large[PARAMS_LARGE];         /* for values that are too large for the arena */
};

struct param;

/* Add to *p what `value` says: one $n, or as many as the kind has. A parameter that is absent comes as
 * the row's `otherwise`, which may be NULL. On failure e->code is an HTTP status. */
typedef int param_kind(struct params *p, const struct param *row, const char *value, struct err *e);

struct param {
	const char *name;               /* in the address; a table ends with NULL */
	param_kind *kind;
	const char *otherwise;          /* the value when it is absent */
};

param_kind param_text;                  /* as it is */
param_kind param_hash;                  /* of the token that the request shows */
param_kind param_body;                  /* as a JSON object, without the password in it */
param_kind param_key;                   /* the request's Idempotency-Key */
param_kind param_if_match;               /* its If-Match; a form says version=N in the address */
param_kind param_new_token;             /* the hash of one that is made now; `otherwise` is its prefix */
param_kind param_count;                 /* a whole number from 0 on, or null */
param_kind param_limit;                 /* how many rows: 1 to 1,000; 100 */
param_kind param_rest;                  /* the rest of the path */
param_kind param_number;                /* a whole number */
param_kind param_time;                  /* as times.h reads it; "" is null */
param_kind param_until;                 /* a time later than that of the row before, where both are */
param_kind param_range;                 /* "15m", "1h" ... as seconds */

/* Read the whole table; NULL is an empty one. */
int params_read(struct params *p, const struct param *table, struct err *e);
void params_free(struct params *p);

/* For kinds. The body, which p keeps. Add a $n, of which the caller keeps the bytes; a copy of it; or say
 * what is wrong, and how to write it. */
int params_body(struct params *p, struct json_object **ret, struct err *e);
int params_add(struct params *p, const char *value, struct err *e);
int params_add_copy(struct params *p, struct text value, struct err *e);
int params_add_time(struct params *p, const struct param *row, struct text value, struct err *e);
int params_refuse(const struct param *row, const char *value, const char *form, struct err *e);

#endif
