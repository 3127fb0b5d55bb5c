/*
 * url_mask.h - URLs without their secrets, for messages, pages and process lists.
 *
 * Knows the places of secrets: user info, passwords, parameters with names of secrets. Promises to hide too
 * much rather than too little if a URL is invalid, since error messages show those.
 */
#ifndef OBSERV_URL_MASK_H
#define OBSERV_URL_MASK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/text.h"

enum { URL_MASK_MAX = 16384 }; /* bytes; a longer URL is shown as "***" */

/* Copy `url` (URI or key=value form; NULL: "") to `out`, with "***" for each password and for the user info
 * of an http URL. Always terminates, unless `size` is 0. */
void url_mask(const char *url, char *out, size_t size);

/* The URL in a command line argument, which is masked where it is: every user of this machine sees
 * arguments (ps). The caller frees it. NULL: out of memory. */
char *url_take_argument(char *argument);

/* Is the value of a parameter or header with this name a secret? */
bool url_secret_name(struct text name);

/* Marks have one byte for each byte of a URL and its terminator: nonzero hides it. url_hide() marks one part,
 * url_hide_places() the places of secrets. */
void url_hide(char *marks, size_t from, size_t to);
void url_hide_places(const char *url, char *marks);

/* Copy `url` with "***" for each marked part, cut to `size` (not 0). */
void url_show(const char *url, const char *marks, char *out, size_t size);

#endif
