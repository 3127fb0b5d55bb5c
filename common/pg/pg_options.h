/*
 * pg_options.h - what libpq makes of a connection string.
 *
 * Owns the order in which an option is said: by the string (URI or key=value pairs), by the service that
 * it or the environment names, by the environment. Promises to open no connection, and to look no name up.
 */
#ifndef COMMON_PG_OPTIONS_H
#define COMMON_PG_OPTIONS_H

#include <libpq-fe.h>

#include "common/err.h"

struct pg_options {
	PQconninfoOption *own;          /* what the string itself says */
	/* with service, environment and libpq's defaults; not user, password, gssencmode */
	PQconninfoOption *all;
};

/* -EINVAL: it is no connection string, or its service or a value of it is wrong. `e` has libpq's sentence,
 * which may quote the string. */
int pg_options_read(const char *url, struct pg_options *ret, struct err *e);
void pg_options_free(struct pg_options *o);

/* What somebody said of an option; "": nobody did, so libpq's default holds. (A service that says just that
 * looks like nobody.) */
const char *pg_option(const struct pg_options *o, const char *keyword);

#endif
