/*
 * log.h - how our own programs log: JSON lines by logcore on standard error.
 *
 * Under systemd, where standard error is the journal, each line has its priority
 * in front, so that `journalctl -p warning` works on it.
 */
#ifndef OBSERV_LOG_H
#define OBSERV_LOG_H

#include "logcore/logcore.h"

/*
 * A logger called `name` for lines of `level` (a name; NULL: info) and above. The
 * environment's LOGCORE_LEVEL goes first. A name that is no level means info and is
 * said in the log. NULL when out of memory or without a standard error; logcore's
 * functions take that too. Closed by logcore_close().
 */
struct logcore *log_open(const char *name, const char *level);

/* Change the level while running, by name; false when it is none. */
bool log_set_level(struct logcore *log, const char *level);

#endif
