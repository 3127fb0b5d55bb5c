/*
 * pg_options.h - what libpq makes of a connection string.
 *
 * Owns the order of precedence of an option: the string (URI or key=value pairs), then the service that the
 * string or the environment names, then the environment. Promises to open no connection and to look up no
 * name.
 */
#ifndef COMMON_PG_OPTIONS_H
#define COMMON_PG_OPTIONS_H

#include <libpq-fe.h>

#include "common/err.h"

struct pg_options {
	PQconninfoOption *own;          /* from the string alone */
	/* with service, environment and libpq's defaults; not user, password, gssencmode */
	PQconninfoOption *all;
};

/* Returns -EINVAL if `url` is no connection string, or its service or one of its values is wrong. `e` has
 * libpq's sentence, which may quote the string. */
int pg_options_read(const char *url, struct pg_options *ret, struct err *e);
void pg_options_free(struct pg_options *o);

/* The value that string, service or environment set; "": none did, so libpq's default applies. (A service
 * that sets exactly the default looks the same.) */
const char *pg_option(const struct pg_options *o, const char *keyword);

#endif
