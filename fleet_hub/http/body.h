/*
 * body.h - what a request brings with it.
 *
 * Promises that a body is read whole or refused, that it is no larger than the route allows
 * and of a media type that it takes, and that a form's fields become the request's parameters.
 * The same over CGI, where it is the standard input, and over FastCGI.
 */
#ifndef FLEET_HUB_BODY_H
#define FLEET_HUB_BODY_H

#include "http.h"

/* Bits, so that a route can name several. */
enum body_media { BODY_NONE = 0, BODY_JSON = 1, BODY_FORM = 2 };

struct body_rule {
	unsigned media;                 /* BODY_NONE: the route takes no body */
	size_t max;                     /* bytes */
};

/* The next bytes, at most n; 0 at the end, -1 when the other side is gone. */
typedef long http_read(void *from, char *to, size_t n);

/*
 * Read the body into r->body, which lives as long as the request. On failure e->code is the HTTP
 * status: 400 (ends early, or is not UTF-8), 411, 413, 415.
 */
int body_read(struct request *r, const struct body_rule *rule, http_read *read, void *from, struct err *e);

#endif
