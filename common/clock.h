/*
 * clock.h - the two clocks.
 *
 * Time is int64_t microseconds everywhere. Wall-clock time is for data that leaves the
 * process; monotonic time is for timers and durations. A function that depends on the time
 * takes it as a parameter, so that tests never sleep; only the edges call these.
 */
#ifndef OBSERV_CLOCK_H
#define OBSERV_CLOCK_H

#include <stdint.h>
#include <time.h>

#define US_PER_MS  INT64_C(1000)
#define US_PER_S   INT64_C(1000000)
#define US_PER_DAY (INT64_C(86400) * US_PER_S)

static inline int64_t clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

/* Microseconds since 1970-01-01 UTC. */
static inline int64_t wall_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

/* Microseconds since some fixed point in the past; never goes back. */
static inline int64_t mono_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

#endif
