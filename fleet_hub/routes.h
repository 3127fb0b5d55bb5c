/*
 * routes.h - which address gives what: the site map is the table in routes.c.
 *
 * To add a page: a row there, a .sql and a .html in pages/, a PAGE().
 */
#ifndef FLEET_HUB_ROUTES_H
#define FLEET_HUB_ROUTES_H

#include "fleet_hub/base/page.h"

/* The route of that path, or NULL. */
const struct route *route_find(const char *path);

#endif
