/*
 * check_url.h - the URLs of a check, from the configuration and from redirects.
 *
 * Pure functions over libcurl's URL parser. Promises that host names leave here in
 * ASCII: libcurl itself converts letters beyond ASCII (IDNA) only in a UTF-8 locale,
 * which services do not have.
 */
#ifndef OBS_AGENT_CHECK_URL_H
#define OBS_AGENT_CHECK_URL_H

#include <stdbool.h>

struct check_url {
	char *url;                      /* without user and password */
	char *user, *password;          /* decoded; NULL: none */
};

/* Take `url` apart; what is relative is so to `base`, NULL for none. False: it is no URL, its
 * host has no ASCII form, or memory is short; *ret is untouched then. */
bool check_url_parse(const char *base, const char *url, struct check_url *ret);

void check_url_free(struct check_url *u);

/* May what is meant for `from` (headers, password) be sent to `to`? To the same scheme, host
 * and port, and to https of the host where `from` is http. */
bool check_url_may_carry(const char *from, const char *to);

bool check_url_is_https(const char *url);

/* Must the host be asked from a name server, or is it an address? */
bool check_url_has_name(const char *url);

#endif
