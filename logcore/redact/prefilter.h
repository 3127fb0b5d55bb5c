/*
 * prefilter.h - whether a text may contain a secret (patterns.h). Private to the library.
 *
 * Runs on every text of every line, at about two instructions a byte. Promises no false
 * "no"; one text in five gets a false "yes".
 */
#ifndef LOGCORE_PREFILTER_H
#define LOGCORE_PREFILTER_H

#include <stdbool.h>
#include <stddef.h>

enum { PREFILTER_MIN = 8 };               /* bytes; no pattern matches a shorter text */

/* len is at least PREFILTER_MIN. */
bool logcore_prefilter(const char *s, size_t len);

#endif
