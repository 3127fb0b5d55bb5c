/*
 * prefilter.h - whether a text is worth a search for secrets (patterns.h). Private to the library.
 *
 * Promises no false "no"; one text in five gets a false "yes". For every text of every
 * line: about two instructions a byte.
 */
#ifndef LOGCORE_PREFILTER_H
#define LOGCORE_PREFILTER_H

#include <stdbool.h>
#include <stddef.h>

enum { PREFILTER_MIN = 8 };               /* bytes; no secret that is known by its looks is shorter */

/* len is at least PREFILTER_MIN. */
bool logcore_prefilter(const char *s, size_t len);

#endif
