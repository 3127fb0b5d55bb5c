/*
 * sign_in.h - a name and a password become a session.
 *
 * Promises the same answer, in the same time, for a wrong password and for a name that nobody has, and
 * that neither password nor token is logged. The database counts the tries.
 */
#ifndef FLEET_HUB_SIGN_IN_H
#define FLEET_HUB_SIGN_IN_H

#include "fleet_hub/base/db.h"
#include "fleet_hub/http/http.h"

/* For programs: the session's token as OAuth 2.0 gives one. */
void sign_in_token(struct request *r, struct db *db, struct response *s);

/* For browsers: the session's cookie. */
void sign_in_form(struct request *r, struct db *db, struct response *s);

#endif
