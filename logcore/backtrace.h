/*
 * backtrace.h - what the platform knows about a failure: error texts and the calls that
 * led here. Private to the library.
 *
 * Leaves out the names of static functions: they are not in the program's memory.
 */
#ifndef LOGCORE_BACKTRACE_H
#define LOGCORE_BACKTRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "json.h"

/* Load what a backtrace needs, so that taking one allocates nothing. Call it once. */
void logcore_backtrace_prepare(void);

/* The calls as an array of strings, from j->caller on; null where the platform cannot tell.
 * False when not even the brackets fit. */
bool logcore_backtrace(struct json *j);

/* The English text of an errno value. Signal handlers may call this. */
const char *logcore_error_text(int64_t error);

#endif
