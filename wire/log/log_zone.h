/*
 * log_zone.h - the zone behind a time in a text: an offset, letters, or a name.
 *
 * Owns the table of letters. Leaves out the times themselves (log_time.h) and the changes of a
 * zone's offset (common/zone/zone.h).
 */
#ifndef WIRE_LOG_ZONE_H
#define WIRE_LOG_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "log_time.h"

struct log_zone {
	bool fixed;                     /* so many seconds ahead of UTC */
	bool lettered;                  /* fixed by letters that may mean several zones */
	int32_t east_s;
	const struct zone *named;       /* by a name instead; NULL: by none */
};

/* The zone with which *t begins, perhaps behind blanks; *t goes behind it. False: none, *t stays. */
bool log_zone_take(const struct log_clock *c, struct text *t, struct log_zone *ret);

#endif
