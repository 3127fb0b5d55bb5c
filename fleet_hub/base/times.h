/*
 * times.h - the times that people and programs write into an address.
 *
 * Promises to read each form in which the hub itself shows a time, RFC 3339, what a form's
 * <input type=datetime-local> sends, and the seconds since 1970. Times without a zone are UTC.
 */
#ifndef FLEET_HUB_TIMES_H
#define FLEET_HUB_TIMES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/text.h"

/* What a sentence says about a time that cannot be read. */
#define TIMES_FORMS "write it as 2026-11-30T06:00:00Z, 2026-11-30 06:00, 2026-11-30 or as seconds since 1970"

/*
 * Read t as microseconds since 1970. A time without a year or a day (11-30 06:00:01.250,
 * Nov 30 06:00, 06:00) is the last one of that name, as seen from `now_us`. A blank before an
 * offset counts as '+', which is what a query string makes of one.
 */
bool times_read(struct text t, int64_t now_us, int64_t *ret_us);

#endif
