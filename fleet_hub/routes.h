/*
 * routes.h - which address gives what: the site map is the tables in routes_*.c.
 *
 * To add a page: a row there, a .sql and a .html in the folder of its subject, a PAGE(). To add a subject: a
 * folder, a file with its table, which defines FOLDER, and the table's name here and in routes.c.
 */
#ifndef FLEET_HUB_ROUTES_H
#define FLEET_HUB_ROUTES_H

#include <stdio.h>

#include "common/embed.h"
#include "fleet_hub/base/page.h"

/* A page is a question and a template; its rows, where it has them, another question. */
#define SQL(x)  EMBED(sql_##x, FOLDER #x ".sql")
#define HTML(x) EMBED(html_##x, FOLDER #x ".html")
#define ROWS(x) EMBED(rows_##x, FOLDER #x "_rows.sql")
#define PAGE(x)                                                                                              \
	SQL(x);                                                                                              \
	HTML(x)
#define SHOW(x) .html = html_##x, .html_len = &html_##x##_len

struct route_table {
	const struct route *rows;
	size_t n;
};

extern const struct route_table routes_pages, routes_logs, routes_servers, routes_ingest, routes_service,
	routes_people, routes_alerts, routes_heartbeats, routes_messages;

/* Parameters of rows that act on one thing: who asks, the rest of the path, the body, If-Match. */
extern const struct param params_one[], params_one_body[], params_one_version[], params_one_body_version[];

/* The i-th row of all tables; NULL behind the last one. */
const struct route *route_at(size_t i);

/* The row of the request's path and method, and r->rest: the row whose path names most of it. NULL: there is
 * none; *ret_methods has the methods that the path takes, 0 if nothing is at that path. */
const struct route *route_find(struct request *r, unsigned *ret_methods);

/* What each row needs, its method, path and parameters: for tests. */
void routes_print(FILE *to);

#endif
