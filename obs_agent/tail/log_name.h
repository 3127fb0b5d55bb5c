/*
 * log_name.h - what a log file's name says: pure functions on text.
 */
#ifndef OBS_AGENT_LOG_NAME_H
#define OBS_AGENT_LOG_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Split "folder/name"; false where that is not possible. */
bool log_name_split(const char *path, char *dir, size_t size, const char **ret_name);

/* A glob, not one path. */
bool log_name_is_pattern(const char *path);

/* What is packed (.gz and the like) is not text. */
bool log_name_is_packed(const char *name);

/* Is the name made of the log's, whatever follows? As in app.log.2.gz. */
bool log_name_is_of(const char *log, const char *name);

/* Could a file called `name` be an older part of the log called `log`? As in
 * app.log.1, app.log-20261121, app-2026-11-21.log. */
bool log_name_is_rotated(const char *log, const char *name);

#endif
