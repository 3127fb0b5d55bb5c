/*
 * clock.h - the two clocks, and the calendar.
 *
 * Time is int64_t microseconds everywhere. Wall-clock time is for data that leaves the
 * process; monotonic time is for timers and durations. A function that depends on the time
 * takes it as a parameter, so that tests never sleep; only the edges call these.
 */
#ifndef OBSERV_CLOCK_H
#define OBSERV_CLOCK_H

#include <stdbool.h>
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

static inline bool is_leap_year(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days of a month from 1 to 12. */
static inline int days_of_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap_year(year));
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar.
 * Source: Howard Hinnant, "chrono-compatible low-level date algorithms". */
static inline int64_t days_since_1970(int year, int month, int day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468;
}

#endif
