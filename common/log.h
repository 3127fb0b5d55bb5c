/*
 * log.h - the logger of the programs: JSON lines by logcore on standard error.
 *
 * Under systemd, where standard error is the journal, each line begins with its priority,
 * so that `journalctl -p warning` works.
 */
#ifndef OBSERV_LOG_H
#define OBSERV_LOG_H

#include "logcore/logcore.h"

/*
 * Open a logger `name` with the minimum level `level` (a name; NULL: info). The environment
 * variable LOGCORE_LEVEL overrides it. If `level` is no level, the logger uses info and
 * writes a warning. NULL when out of memory or without a standard error; logcore's
 * functions accept that. Close it with logcore_close().
 */
struct logcore *log_open(const char *name, const char *level);

/* Change the level by name; false when the name is no level. */
bool log_set_level(struct logcore *log, const char *level);

#endif
