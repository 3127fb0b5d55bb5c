/*
 * cpu_time.h - bounds on the CPU time of code that hostile input must not make slow.
 *
 * Sanitizers and valgrind watch each byte, so a bound is longer under them. scripts/each sets SLOWER for
 * valgrind.
 */
#ifndef TESTS_CPU_TIME_H
#define TESTS_CPU_TIME_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZER_SLOWER = 10 };
#else
enum { SANITIZER_SLOWER = 1 };
#endif

/* CPU time that this thread has used. */
static inline int64_t cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* `ms` of the plain program, as a bound for this one. */
static inline int64_t cpu_ms_bound(int64_t ms)
{
	const char *slower = getenv("SLOWER");

	return ms * SANITIZER_SLOWER * (slower ? strtol(slower, NULL, 10) : 1);
}

#endif
