/*
 * accounts.h - what the pages of accounts need beside questions: passwords.
 *
 * Promises that a password which a user may not choose is refused with the name of its field, and that a
 * generated one goes into the answer, once.
 */
#ifndef FLEET_HUB_ACCOUNTS_H
#define FLEET_HUB_ACCOUNTS_H

#include "fleet_hub/base/params.h"

/* How the password in the body is kept: JSON. Without one null, or one is made if the row says "generate". */
param_kind param_secret;

/* The form on the account page: the current password, and another one. */
void account_change_password(struct request *r, struct db *db, struct response *s);

#endif
