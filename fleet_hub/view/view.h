/*
 * view.h - a page from a template and its data.
 *
 * Adds "page" to the data: addresses, parameters, theme, who looks at it. Leaves out where the data come
 * from.
 */
#ifndef FLEET_HUB_VIEW_H
#define FLEET_HUB_VIEW_H

#include "fleet_hub/http/http.h"

struct json_object;

/* Show `data`, to which "page" is added, as a page of that name. On failure the body is as it was. */
int view_show(const struct request *r, struct response *s, const char *name, struct text html,
	      struct json_object *data, struct err *e);

/* Append the page's own address; with `next_name` and its value, that of the part of its list behind that
 * row. */
bool view_here(struct buf *out, const struct request *r, const char *next_name, const char *next);

/* Send a browser to `back`, if that is an address of this site; else to the hub's page `otherwise`. */
void view_redirect(const struct request *r, struct response *s, const char *back, const char *otherwise);

#endif
