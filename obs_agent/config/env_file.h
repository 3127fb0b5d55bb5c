/*
 * env_file.h - the unit's EnvironmentFile, for a program that a person starts by hand.
 *
 * Owns its variables. Promises that only those which tell libpq where the database is become part
 * of the environment: other variables control libraries (OPENSSL_CONF), and the file's owner must
 * not run code as this user.
 */
#ifndef OBS_AGENT_ENV_FILE_H
#define OBS_AGENT_ENV_FILE_H

#include <limits.h>
#include <stdbool.h>

#include "common/err.h"
#include "common/text.h"

/* The path of the file that the unit reads for a configuration: .env.production in the same folder. False:
 * it is longer than a path may be. */
bool env_file_beside(const char *config_path, char out[PATH_MAX]);

/* Read the variables of `path` as systemd does: NAME=value lines, # and ; comments, single and
 * double quotes, a backslash at the end of a line joins it with the next. Returns their number, or
 * -errno. */
int env_file_load(const char *path, struct err *e);

/* The value of a variable in the environment or else in the files that were read; NULL: neither has
 * it. Valid until the process ends. */
const char *env_file_get(const char *name);

/* Is `t` a name that a variable may have: letters, digits and _, no digit first? */
bool env_file_is_name(struct text t);

#endif
