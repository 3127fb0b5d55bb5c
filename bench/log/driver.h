/*
 * driver.h - threads, clocks and the report of a program that measures a logger; for C and C++.
 *
 *     PROGRAM                                                     prints its cases
 *     PROGRAM CASE rate|latency|paced|below FILE THREADS LINES    writes LINES to FILE, prints JSON
 *
 * A program defines BENCH_CASES (string literals), includes this, and defines the four functions
 * below; main() is here. golog.go does the same for Go.
 *
 *     rate     wall and CPU time from the first line until the logger is closed, its threads included
 *     latency  time each call, back to back
 *     paced    each call timed, one each 5 us and thread: a logger's own thread can follow
 *     below    calls of a level that is not written
 *
 * Latencies have the timer's cost in them; `timer` says what it is.
 */
#ifndef BENCH_LOG_DRIVER_H
#define BENCH_LOG_DRIVER_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_THREADS = 64, PACE_NS = 5000 };

#define LOGGER "shop.orders"
#define MESSAGE "order stored, the confirmation is on its way"

/* The three context fields. */
struct order {
	int number, ms;
	const char *user;
};

static int bench_open(int which, const char *path);             /* the case's index; 0, or -1 and errno */
static void bench_line(int thread, struct order o);
static void bench_below(struct order o);
static void bench_close(void);                                  /* everything is in the file then */

static const char *const bench_cases[] = { BENCH_CASES };

struct bench_job {
	pthread_t thread;
	int index;
	long first, lines;
	uint64_t pace;                  /* ticks between two calls */
	uint32_t *took;                 /* ticks of each call; NULL: nobody asks */
};

static pthread_barrier_t bench_start;

/* Some texts that need more than copying are among them. */
static inline struct order bench_order(long n)
{
	static const char *const users[] = {
		"maria.santos@example.org", "li.wei@example.org",       "j\xc3\xbcrgen@example.org",
		"\"tim\" <tim@example.org>", "olivia@example.org",       "noah.fischer@example.org",
		"amara.okafor@example.org", "b@example.org",
	};
	struct order o = { (int)n, (int)(n * 7919 % 1000), users[n & 7] };

	return o;
}

/* ---- clocks ------------------------------------------------------------------------------------ */

static int64_t bench_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static inline uint64_t bench_ticks(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	return (uint64_t)bench_ns(CLOCK_MONOTONIC);
#endif
}

static double bench_ticks_per_ns(void)
{
	int64_t began = bench_ns(CLOCK_MONOTONIC), now;
	uint64_t ticks = bench_ticks();

	do
		now = bench_ns(CLOCK_MONOTONIC);
	while (now - began < 20000000);
	return (double)(bench_ticks() - ticks) / (double)(now - began);
}

/* User and system, of all threads. */
static int64_t bench_cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000000000) +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * INT64_C(1000);
}

/* ---- running ----------------------------------------------------------------------------------- */

static void bench_timed(struct bench_job *j)
{
	for (long n = 0; n < j->lines; n++) {
		struct order o = bench_order(j->first + n);
		uint64_t began = bench_ticks(), took;

		bench_line(j->index, o);
		took = bench_ticks() - began;
		j->took[n] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
		while (bench_ticks() - began < j->pace)
			;
	}
}

static void *bench_thread(void *arg)
{
	struct bench_job *j = (struct bench_job *)arg;

	pthread_barrier_wait(&bench_start);
	if (j->took)
		bench_timed(j);
	else
		for (long n = j->first; n < j->first + j->lines; n++)
			bench_line(j->index, bench_order(n));
	return NULL;
}

static int bench_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double bench_part(const uint32_t *sorted, long n, double part, double per_ns)
{
	return sorted[(long)(part * (double)(n - 1))] / per_ns;
}

static void bench_print_latency(uint32_t *took, long n, double per_ns)
{
	uint32_t empty[10001];
	long timers = sizeof empty / sizeof *empty;

	for (long i = 0; i < timers; i++) {
		uint64_t began = bench_ticks();

		empty[i] = (uint32_t)(bench_ticks() - began);
	}
	qsort(empty, (size_t)timers, sizeof *empty, bench_compare);
	qsort(took, (size_t)n, sizeof *took, bench_compare);
	printf(",\"p50\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f", bench_part(took, n, 0.5, per_ns),
	       bench_part(took, n, 0.99, per_ns), bench_part(took, n, 0.999, per_ns));
	printf(",\"timer\":%.1f", bench_part(empty, timers, 0.5, per_ns));
}

/* Each thread an equal part; `per_ns` 0: calls are not timed. */
static void bench_write(int threads, long lines, double per_ns, uint64_t pace)
{
	struct bench_job jobs[MAX_THREADS];
	uint32_t *took = per_ns > 0 ? (uint32_t *)malloc((size_t)lines * sizeof *took) : NULL;
	long each = lines / threads;
	int64_t wall, cpu;

	if (took)
		memset(took, 1, (size_t)lines * sizeof *took);  /* its pages are there */
	pthread_barrier_init(&bench_start, NULL, (unsigned)threads + 1);
	for (int i = 0; i < threads; i++) {
		struct bench_job j = { 0, i, i * each, each, pace, took ? took + i * each : NULL };

		jobs[i] = j;
		pthread_create(&jobs[i].thread, NULL, bench_thread, &jobs[i]);
	}
	cpu = bench_cpu_ns();
	wall = bench_ns(CLOCK_MONOTONIC);
	pthread_barrier_wait(&bench_start);
	for (int i = 0; i < threads; i++)
		pthread_join(jobs[i].thread, NULL);
	bench_close();
	wall = bench_ns(CLOCK_MONOTONIC) - wall;
	cpu = bench_cpu_ns() - cpu;
	lines = each * threads;
	printf("{\"lines\":%ld,\"wall\":%.2f,\"cpu\":%.2f", lines, (double)wall / (double)lines,
	       (double)cpu / (double)lines);
	if (took)
		bench_print_latency(took, lines, per_ns);
	printf("}\n");
	free(took);
}

static void bench_run_below(long calls)
{
	struct order o = bench_order(1);
	int64_t began = bench_ns(CLOCK_MONOTONIC);

	for (long n = 0; n < calls; n++) {
		o.number = (int)n;
		bench_below(o);
	}
	printf("{\"below\":%.3f}\n", (double)(bench_ns(CLOCK_MONOTONIC) - began) / (double)calls);
	bench_close();
}

static int bench_usage(void)
{
	for (size_t i = 0; i < sizeof bench_cases / sizeof *bench_cases; i++)
		puts(bench_cases[i]);
	return 64;
}

int main(int argc, char **argv)
{
	int which = 0, cases = sizeof bench_cases / sizeof *bench_cases;
	long threads, lines;
	double per_ns = 0;
	uint64_t pace = 0;
	FILE *f;

	if (argc != 6)
		return bench_usage();
	while (which < cases && strcmp(argv[1], bench_cases[which]) != 0)
		which++;
	threads = strtol(argv[4], NULL, 10);
	lines = strtol(argv[5], NULL, 10);
	if (which == cases || threads < 1 || threads > MAX_THREADS || lines < threads)
		return bench_usage();
	f = fopen(argv[3], "we");               /* empty; the logger appends */
	if (!f || fclose(f) != 0 || bench_open(which, argv[3]) < 0) {
		perror(argv[3]);
		return 1;
	}
	if (strcmp(argv[2], "latency") == 0 || strcmp(argv[2], "paced") == 0)
		per_ns = bench_ticks_per_ns();
	if (strcmp(argv[2], "paced") == 0)
		pace = (uint64_t)(PACE_NS * per_ns);
	if (strcmp(argv[2], "below") == 0)
		bench_run_below(lines);
	else
		bench_write((int)threads, lines, per_ns, pace);
	return 0;
}

#endif
