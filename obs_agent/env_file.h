/*
 * env_file.h - the unit's EnvironmentFile, for a program that a person starts by hand.
 */
#ifndef OBS_AGENT_ENV_FILE_H
#define OBS_AGENT_ENV_FILE_H

#include "../common/err.h"

/*
 * Set the variables of `path` that the environment does not have, as systemd
 * reads the file: NAME=value lines, # and ; comments, single and double quotes,
 * a backslash before the end of a line joins it with the next. Returns the
 * number of variables in the file.
 */
int env_file_load(const char *path, struct err *e);

#endif
