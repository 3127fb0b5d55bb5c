/*
 * show.h - what the database answered, in the form that the request wants: a page, JSON, CSV or NDJSON.
 *
 * Promises that an answer which does not fit, is no JSON object or lacks the member that the route must have
 * becomes a refusal. Leaves out the questions (page.h).
 */
#ifndef FLEET_HUB_SHOW_H
#define FLEET_HUB_SHOW_H

#include "page.h"

/* The form that the request wants of the route; FORM_UNKNOWN: the route does not come in it. */
enum form show_form(const struct route *route, const struct request *r);

/* Whether the form is a file that show_rows() sends. */
bool show_is_file(enum form form);

/* Answer with the object in `text`. */
void show_answer(const struct route *route, const struct request *r, const struct params *p, struct buf *text,
		 struct response *s);

/* Ask for the rows of the route, and send them as a file, row by row. Its limit is in the head. */
void show_rows(const struct route *route, const struct request *r, const struct params *p, struct db *db,
	       struct response *s);

#endif
