/*
 * check_url.h - the URLs of a check, from the configuration and from redirects.
 *
 * Pure functions over libcurl's URL parser. Promises that host names are in ASCII:
 * libcurl converts other letters (IDNA) only in a UTF-8 locale, which services do
 * not have.
 */
#ifndef OBS_AGENT_CHECK_URL_H
#define OBS_AGENT_CHECK_URL_H

#include <stdbool.h>

struct check_url {
	char *url;                      /* without user and password */
	char *user, *password;          /* decoded; NULL: none */
};

/* Parse `url`, which may be relative to `base` (NULL: it may not). False: not a URL, no ASCII form
 * of the host, or out of memory; *ret is untouched. */
bool check_url_parse(const char *base, const char *url, struct check_url *ret);

void check_url_free(struct check_url *u);

/* May headers and a password for `from` be sent to `to`? They may go to the same scheme, host and
 * port, and from http to https of the same host. */
bool check_url_may_carry(const char *from, const char *to);

bool check_url_is_https(const char *url);

/* Is the host a name, which has to be looked up, rather than an address? */
bool check_url_has_name(const char *url);

#endif
