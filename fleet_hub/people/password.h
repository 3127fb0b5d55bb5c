/*
 * password.h - from a password to what the database keeps of it.
 *
 * argon2id makes a key of the password, here; the database has only the SHA-256 of the key, and tells
 * neither. So who reads the tables must still run argon2id for each guess, and who has the hub's login
 * learns nothing. Promises that a password goes no further than this program, and that generated ones have
 * 125 bits.
 */
#ifndef FLEET_HUB_PASSWORD_H
#define FLEET_HUB_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum {
	PASSWORD_MIN = 8,       /* characters */
	PASSWORD_MAX = 1024,    /* bytes */
	PASSWORD_KEY_SIZE = 67, /* as PostgreSQL reads a bytea */
	PASSWORD_SECRET_SIZE = 320,
	PASSWORD_GENERATED_SIZE = 32,
};

/* What argon2id costs. */
struct password_cost {
	int64_t memory_mib, passes;
};

/* The key of `password`, with a salt of 32 hexadecimal digits. */
int password_key(const char *password, const char *salt, struct password_cost cost,
		 char key[PASSWORD_KEY_SIZE], struct err *e);

/* With a new salt, what set_password() of the database takes: JSON. */
int password_secret(const char *password, struct password_cost cost, bool generated,
		    char secret[PASSWORD_SECRET_SIZE], struct err *e);

void password_generate(char password[PASSWORD_GENERATED_SIZE]);

/* Whether a user may choose it; otherwise the sentence goes on from "The password ". `email` is his own. */
int password_check(const char *password, const char *email, struct err *e);

#endif
