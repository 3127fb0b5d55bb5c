/*
 * openapi_row.h - what openapi.yaml and the page /api say of a row of the route table.
 *
 * Promises that paths, methods, parameters and statuses follow from what the hub routes and refuses by: the
 * row itself. Only the sentences and the names of schemas are written for the description (struct route_doc).
 */
#ifndef FLEET_HUB_OPENAPI_ROW_H
#define FLEET_HUB_OPENAPI_ROW_H

#include "fleet_hub/base/page.h"

enum { ROW_PATH_SIZE = 64, ROW_ID_SIZE = 80, ROW_ANSWERS_MAX = 16, ROW_PARAMS_MAX = 16 };

struct row_param {
	const char *name, *in; /* in: "path", "query" or "header" */
	const char *schema;    /* the members of its schema, in YAML's flow style */
	const char *otherwise; /* the default; NULL: none */
	const char *sentence;
	bool required;
};

/* "/api/v1/servers/{id}" of the row's path or one of its others. */
void row_path(const char *path, char out[ROW_PATH_SIZE]);

/* "get" */
const char *row_method(const struct route *row);

/* What stands behind "/api/v1/", the same for all rows of a subject. */
struct text row_tag(const struct route *row);

/* "viewer", "server", ...; "none". */
const char *row_role(const struct route *row);

/* The kind in limit_policy that it counts as; NULL: none. */
const char *row_limit(const struct route *row);

/* The kind of token that it takes, a name of securitySchemes; NULL: none. */
const char *row_token(const struct route *row);

/* In the order of their statuses. */
size_t row_answers(const struct route *row, struct route_answer out[ROW_ANSWERS_MAX]);
size_t row_params(const struct route *row, struct row_param out[ROW_PARAMS_MAX]);

#endif
