/*
 * env_file.h - the unit's EnvironmentFile, for a program that a person starts by hand.
 *
 * Owns the variables of it. Promises that they do not become the environment, except those that tell libpq where the
 * database is: variables steer libraries (OPENSSL_CONF), and the file may belong to somebody who must not run code as us.
 */
#ifndef OBS_AGENT_ENV_FILE_H
#define OBS_AGENT_ENV_FILE_H

#include "common/err.h"

/*
 * Read the variables of `path` as systemd does: NAME=value lines, # and ; comments, single and double quotes,
 * a backslash before the end of a line joins it with the next. Returns the
 * number of variables in the file.
 */
int env_file_load(const char *path, struct err *e);

/* A variable of the environment or, where that has none of the name, of the file; NULL: neither has it. Valid for good. */
const char *env_file_get(const char *name);

#endif
