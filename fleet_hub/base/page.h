/*
 * page.h - from a route and a request to a response.
 *
 * A page is one question to the database that gives one JSON value, and one
 * template. What the question returns is the page's JSON form, unchanged; the
 * page adds "page" (addresses, parameters, theme) for the template's use.
 */
#ifndef FLEET_HUB_PAGE_H
#define FLEET_HUB_PAGE_H

#include "db.h"
#include "http.h"
#include "fleet_hub/pages/search.h"

struct json_object;

/* What the answer will be. */
enum form { FORM_HTML, FORM_JSON, FORM_CSV, FORM_NDJSON, FORM_UNKNOWN };

/* The question's parameters, text or NULL, and what they point into. */
struct params {
	enum form form;
	const char *v[DB_PARAMS_MAX];
	size_t n;
	struct search search;           /* of the log pages */
	struct arena arena;
};

struct route {
	const char *path;               /* ending in '*' when a name follows, given as $1 */
	const char *name;               /* for the navigation and the title */
	const char *sql, *html;         /* sql: NULL when nothing is asked; html: NULL when there is only JSON */
	const uint64_t *html_len;
	/* Set *p from the request; e->code is the HTTP status (400) when it can't be done. */
	int (*params)(struct request *r, struct params *p, struct err *e);
	/* Add to the data what the template needs and SQL can't say well; or NULL. */
	void (*decorate)(const struct request *r, const struct params *p, struct json_object *data);
	const char *rows_sql;           /* with the same parameters, what CSV and NDJSON list; NULL: the next */
	const char *rows, *children;    /* what CSV lists of the answer; NULL: there is no CSV */
	const char *must_have;          /* a member without which the answer is 404, or NULL */
	const char *missing;            /* the sentence of that 404; NULL: of an unknown name */
	int timeout_ms;
};

void page_answer(const struct route *route, struct request *r, struct db *db, struct response *s);

/* The page that says what went wrong; `help` is what to do about it, or NULL. */
void page_error(const struct request *r, struct response *s, int status, const char *title, const char *sentence,
		const char *help);

#endif
