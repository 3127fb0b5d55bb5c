/*
 * log_name.h - what a log file's name says: pure functions on text.
 */
#ifndef OBS_AGENT_LOG_NAME_H
#define OBS_AGENT_LOG_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Split "folder/name"; false where that is not possible. */
bool log_name_split(const char *path, char *dir, size_t size, const char **ret_name);

/* What is packed (.gz and the like) is not text. */
bool log_name_is_packed(const char *name);

/* Is the name made of the log's, whatever follows? As in app.log.2.gz. */
bool log_name_is_of(const char *log, const char *name);

/* The log's name, as that of a rotated part says: of "app.log.1.bak" and "app-20261121.log" it is
 * "app.log". */
void log_name_root(const char *name, char *out, size_t size);

/* Do two names have the same root? */
bool log_name_same_root(const char *a, const char *b);

/* Has the name nothing in it that rotation made? */
bool log_name_is_root(const char *name);

/* Could a file called `name` be an older part of the log called `log`? As in
 * app.log.1, app.log-20261121, app-2026-11-21.log. */
bool log_name_is_rotated(const char *log, const char *name);

#endif
