/*
 * check_guard.h - what a check may show, and where a redirect may lead it.
 *
 * Pure functions of URLs and addresses.
 */
#ifndef OBS_AGENT_CHECK_GUARD_H
#define OBS_AGENT_CHECK_GUARD_H

#include <stdbool.h>
#include <sys/socket.h>

/* The URL without user name and password, in memory of the caller; NULL: out of it. */
char *check_shown_url(const char *url);

/* Equal scheme, host and port, as written: ":443" and nothing are different. */
bool check_same_origin(const char *a, const char *b);

/* Must the host be asked from a name server, or is it an address? */
bool check_has_name(const char *url);

/* 169.254.0.0/16, fe80::/10 and the like. */
bool check_link_local(const struct sockaddr *s);

#endif
