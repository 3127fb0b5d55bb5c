/*
 * timestamp.h - a time as RFC 3339 text. Private to the library; does not depend on the locale.
 */
#ifndef LOGCORE_TIMESTAMP_H
#define LOGCORE_TIMESTAMP_H

#include <stdint.h>
#include <time.h>

enum {
	LOGCORE_TIMESTAMP_SECOND = sizeof "2026-11-21T02:39:14." - 1,
	LOGCORE_TIMESTAMP_MAX = LOGCORE_TIMESTAMP_SECOND + sizeof "123456Z" - 1
};

/* The first second of year 1 and the last of year 9999. */
#define LOGCORE_TIMESTAMP_FIRST INT64_C(-62135596800)
#define LOGCORE_TIMESTAMP_LAST INT64_C(253402300799)

/* "2026-11-21T02:39:14."; the second must be between FIRST and LAST. */
void logcore_timestamp_second(char out[LOGCORE_TIMESTAMP_SECOND], int64_t second);

/* "123456Z", from nanoseconds below 1,000,000,000. */
void logcore_timestamp_rest(char out[LOGCORE_TIMESTAMP_MAX - LOGCORE_TIMESTAMP_SECOND], unsigned ns);

/* Microseconds since 1970, limited to the years 1 to 9999. */
static inline int64_t logcore_us(const struct timespec *t)
{
	int64_t s = t->tv_sec;

	if (s < LOGCORE_TIMESTAMP_FIRST)
		s = LOGCORE_TIMESTAMP_FIRST;
	else if (s > LOGCORE_TIMESTAMP_LAST)
		s = LOGCORE_TIMESTAMP_LAST;
	return s * 1000000 + t->tv_nsec / 1000;
}

static inline int64_t logcore_wall_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return logcore_us(&t);
}

#endif
