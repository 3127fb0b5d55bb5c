/*
 * parts.h - the further questions of a page.
 *
 * Promises that a part whose time is up costs the page this part alone, and that the answer names it under
 * "left_out"; and that only the people for whom a part is meant get it.
 */
#ifndef FLEET_HUB_PARTS_H
#define FLEET_HUB_PARTS_H

#include "page.h"

/* Ask the parts of the route that the request wants, and join their members to the object in `text`. */
enum db_failure parts_ask(struct db *db, const struct route *route, const struct params *p, struct buf *text,
			  struct err *e);

#endif
