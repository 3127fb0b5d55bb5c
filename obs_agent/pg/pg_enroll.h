/* pg_enroll.h - a server makes its own login, with a token. May block for 10 s and more. */
#ifndef OBS_AGENT_PG_ENROLL_H
#define OBS_AGENT_PG_ENROLL_H

#include <stdio.h>

#include "common/err.h"

/* Log in as the token of `url`, make a login for `server`, and print it as "role:password". Returns
 * 0, or -errno with the reason; then the login was not made, unless the token was used up. */
int pg_enroll(const char *url, const char *password, const char *server, FILE *out, struct err *e);

#endif
