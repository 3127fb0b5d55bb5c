/*
 * routes.h - which address gives what: the site map is the table in routes.c.
 *
 * To add a page: a row there, a .sql and a .html in pages/, a PAGE().
 */
#ifndef FLEET_HUB_ROUTES_H
#define FLEET_HUB_ROUTES_H

#include "fleet_hub/base/page.h"

/* The row of the request's path and method, and r->rest. NULL: there is none; *ret_methods has the
 * methods that the path takes, 0 if nothing is at that path. */
const struct route *route_find(struct request *r, unsigned *ret_methods);

#endif
