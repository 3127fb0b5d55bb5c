/*
 * url.h - what is wrong with a URL, and the parts of libpq's.
 *
 * Two kinds: http and https, and what libpq takes as connection string (a URI or key=value pairs). Leaves out
 * what is done with a URL: libcurl and libpq parse it again by the same rules, and masking (url_mask.h).
 */
#ifndef OBSERV_URL_H
#define OBSERV_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/text.h"

/* "what is wrong; how to fix it", to be put behind the URL's name; NULL: nothing. */
const char *url_http_problem(const char *url);
const char *url_postgres_problem(const char *url);

/* The same for key=value pairs alone. */
const char *url_pairs_problem(const char *s);

/* Length of "http://" or "https://", in any case, and of "postgres://" or "postgresql://", with which the
 * text begins; 0: it does not. */
size_t url_http_scheme(const char *url);
size_t url_postgres_scheme(const char *url);

/* SCHEME USER:PASSWORD@HOSTS/DATABASE QUERY. A part is absent (NULL) or empty if the URI has none. */
struct url_postgres {
	struct text scheme;         /* with "://" */
	struct text user, password; /* percent-encoded */
	struct text hosts;          /* with their ports */
	struct text database;
	struct text query; /* with "?" */
};

/* Split a URI, valid or not, as libpq does. False: its scheme is another. */
bool url_postgres_split(const char *url, struct url_postgres *ret);

/* In key=value pairs: behind white space; behind a value, plain or in quotes (*ret_open: they stay open). */
const char *url_skip_space(const char *s);
const char *url_behind_value(const char *s, bool *ret_open);

#endif
