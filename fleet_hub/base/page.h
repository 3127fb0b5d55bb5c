/*
 * page.h - from a route and a request to a response.
 *
 * A page is a question to the database that gives one JSON object, and one template;
 * a large page is several questions, whose objects become one. What the questions
 * return is the page's JSON form, unchanged; the page adds "page" (addresses,
 * parameters, theme) for the template's use.
 */
#ifndef FLEET_HUB_PAGE_H
#define FLEET_HUB_PAGE_H

#include "fleet_hub/http/body.h"
#include "db.h"
#include "fleet_hub/http/http.h"
#include "params.h"

struct json_object;

enum { ROUTE_MORE_MAX = 4, ROUTE_ALSO_MAX = 3, ROUTE_ANSWERS_MAX = 4, PART_HASH = 99 };

/* For whom a part is; others get the page without it. */
enum part_for { FOR_ALL, FOR_SIGNED_IN, FOR_OPERATORS };

/* A question that has the first n_params of the parameters. */
struct part {
	const char *sql;
	size_t n_params;        /* PART_HASH: $1 is the hash of who asks, and that is all */
	const char *name;       /* "NAME=no" leaves it out, "left_out" has it when its time was up; or NULL */
	enum part_for whom;
};

struct route_answer {
	int status;
	const char *response;           /* its name in openapi/components.yaml */
};

/* What openapi.yaml says of a row for programs; all else that it says follows from the row. */
struct route_doc {
	const char *summary;            /* what it does, without a full stop */
	const char *takes, *gives;      /* the schema of the body, the response; NULL: none */
	const char *token;              /* what a row without a role takes: a name of securitySchemes */
	const char *accept;             /* what the header Accept changes; NULL: nothing */
	const char *form;               /* the schema of the body as a form; NULL: the same */
	const char *limit;              /* the kind in limit_policy; NULL: by what it does; "": none */
	/* What does not follow from the row, or is said otherwise than to other rows. */
	struct route_answer more[ROUTE_ANSWERS_MAX];
};

/*
 * What a method of an address does. GET asks in a read-only transaction; any other method may write, by
 * functions of the database, which check the role once more.
 */
struct route {
	const char *path;                 /* with at most one '*', which stands for a name */
	const char *also[ROUTE_ALSO_MAX]; /* the same at other addresses */
	const char *name;                 /* for the navigation and the title */
	unsigned methods;                 /* enum http_method; GET brings HEAD */
	enum role role;                   /* what a request needs */
	bool search;                      /* counts as one, of which a user has so many a minute */
	bool hashes;                      /* a password in the body goes through argon2id */
	bool api;                         /* for programs: refusals are JSON, too */
	struct body_rule body;
	/* An answer that more than one question gives, or none; or NULL: the rest says what is asked and
	 * shown. */
	void (*answer)(struct request *r, struct db *db, struct response *s);
	const struct param *params; /* in the order of $1, $2 ...; NULL: none */
	const char *sql, *html;     /* NULL: nothing is asked; there is only JSON */
	const uint64_t *html_len;
	struct part more[ROUTE_MORE_MAX]; /* further questions, whose members join those of sql */
	/* Add to the data what the template needs and SQL can't say well; or NULL. */
	void (*decorate)(const struct request *r, struct json_object *data);
	const char *rows_sql;        /* what files list, of the same parameters; NULL: CSV lists "rows" */
	const char *rows, *children; /* the answer's list, and the list in each of its rows; NULL: no CSV */
	const char *must_have;       /* a member without which the answer is 404, or NULL */
	const char *missing;         /* the sentence of that 404; NULL: of an unknown name */
	const char *next;            /* the parameter that takes the member "next" of a list; NULL: none */
	int status;                  /* of a write that was done; 0: 200 */
	bool has_version;            /* the answer's member "version" is its ETag */
	const char *then;            /* the page that a browser goes on to; NULL: the answer is shown */
	/* Tell somebody what came, when the answer is on its way; or NULL. */
	void (*report)(const struct request *r, const struct response *s);
	int timeout_ms;              /* 0: PAGE_TIMEOUT_MS */
	struct route_doc doc;
};

enum { PAGE_TIMEOUT_MS = 5000 };

void page_answer(const struct route *route, struct request *r, struct db *db, struct response *s);

#endif
