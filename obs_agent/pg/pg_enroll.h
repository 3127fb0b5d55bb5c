/*
 * pg_enroll.h - a server makes its own login, with a token. May block for some ten seconds.
 */
#ifndef OBS_AGENT_PG_ENROLL_H
#define OBS_AGENT_PG_ENROLL_H

#include <stdio.h>

#include "common/err.h"

/*
 * Log in as the token of `url`, make a login for `server`, and print it as "role:password".
 * Returns 0, or -errno with the reason. On failure nothing was made, or the token's list says that it was.
 */
int pg_enroll(const char *url, const char *password, const char *server, FILE *out, struct err *e);

#endif
