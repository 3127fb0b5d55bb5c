/*
 * user_password.h - the password that a command of fleet_hub_admin gives to a user of the hub.
 *
 * From a file, typed at the terminal (twice, unseen), or generated. Promises that it stands on no command
 * line, and that only what the database keeps of it leaves the program.
 */
#ifndef FLEET_HUB_USER_PASSWORD_H
#define FLEET_HUB_USER_PASSWORD_H

#include "fleet_hub/people/password.h"

struct user_password {
	char text[PASSWORD_MAX + 1];
	bool generated;
	char secret[PASSWORD_SECRET_SIZE]; /* what the database gets */
};

/* `file`: its first line, "-" is standard input; NULL: the terminal, or generated where there is none. */
int user_password_get(struct user_password *p, const char *file, const char *email, struct err *e);

#endif
