/*
 * log_time.h - the times that programs write into their logs.
 *
 * Owns the table of forms: one row a form, with an example; docs/log-formats.md is printed from
 * it. Promises that a time without a zone, a year or a date is completed by stated rules, and
 * that what is no time is left alone. Leaves out where in a line a time stands (log_text.h) and
 * which key of an object holds it (log_keys.h).
 */
#ifndef WIRE_LOG_TIME_H
#define WIRE_LOG_TIME_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/text.h"
#include "common/zone/zone.h"

enum { LOG_TIME_FIRST_YEAR = 2000, LOG_TIME_FUTURE_DAYS = 1 };

/* What completes a time that is not whole. */
struct log_clock {
	const struct zone *zone;        /* for a time without a zone; NULL: UTC */
	struct zones *zones;            /* for the names in texts, as in "Europe/Berlin"; NULL: none */
	int64_t now_us;                 /* arrival: gives the year or the day that a text lacks */
	int64_t last_us;                /* time of the record before in the same file, 0: none. It decides
					 * which of the two is meant when an hour occurs twice in autumn */
	int64_t last_at_us;             /* when that record arrived; 0: not known */
	unsigned likely;                /* the form of the last time; tried first */
};

struct log_time {
	int64_t us;                     /* microseconds since 1970 UTC */
	size_t len;                     /* so many bytes of the text are the time */
	bool zoned;                     /* it has an offset, or is in UTC: no zone was needed */
	bool dated;                     /* the text has a day and a month */
};

/*
 * The time with which `t` begins; false: it begins with none. A digit or a letter right
 * behind it makes it none. Times before 2000 and more than a day ahead of c->now_us are none.
 */
bool log_time_begins(struct log_clock *c, struct text t, struct log_time *ret);

/* The time that `t` is as a whole: one of the forms, or a number since 1970 (log_time_epoch()). */
bool log_time_is(struct log_clock *c, struct text t, int64_t *ret_us);

/* Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size. */
bool log_time_epoch(const struct log_clock *c, struct text t, int64_t *ret_us);

/* The table of forms, as Markdown. */
void log_time_print(FILE *out);

#endif
