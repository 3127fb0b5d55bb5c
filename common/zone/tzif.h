/*
 * tzif.h - a file of the time zone database (RFC 8536), and the rule that ends it.
 *
 * Owns the format: versions 1 to 4, with POSIX's rule for the years behind the last change. Promises
 * that any bytes give a zone or an error. Leaves out which file is a zone's, and questions (zone.h).
 */
#ifndef COMMON_TZIF_H
#define COMMON_TZIF_H

#include <stdbool.h>
#include <stddef.h>

#include "zone.h"

enum { TZIF_BYTES_MAX = 256 * 1024 };

/* Fill the changes of *z, not its name, from a file's bytes. False: they are no such file. */
bool tzif_read(struct zone *z, const unsigned char *bytes, size_t len);

/* The same from a rule, as TZ may hold it: "CET-1CEST,M3.5.0,M10.5.0/3". False: it is none. */
bool tzif_rule(struct zone *z, const char *rule);

#endif
