/*
 * futex.h - a lock that signal handlers may try and a forked child may reset. Private to
 * the library.
 *
 * Promises that trylock and unlock are async-signal-safe, that nothing is allocated, and
 * that a lock of all zero is unlocked.
 */
#ifndef LOGCORE_FUTEX_H
#define LOGCORE_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleep while *word is `seen`, for at most `most` (NULL: without limit). */
static inline void logcore_futex_wait(atomic_int *word, int seen, const struct timespec *most)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, most, NULL, 0);
}

static inline void logcore_futex_wake(atomic_int *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* 0: free, 1: taken, 2: taken and a thread waits.
 * Source: Ulrich Drepper, "Futexes are tricky", mutex2. */
static inline bool logcore_trylock(atomic_int *lock)
{
	int free = 0;

	return atomic_compare_exchange_strong(lock, &free, 1);
}

static inline void logcore_nap_ms(void)
{
	const struct timespec ms = { 0, 1000000 };

	nanosleep(&ms, NULL);
}

/* Wait at most *left_ms and subtract the time waited. Signal handlers use this, because the
 * holder may be the thread that they interrupted. */
static inline bool logcore_trylock_for(atomic_int *lock, int *left_ms)
{
	for (; !logcore_trylock(lock); (*left_ms)--) {
		if (*left_ms <= 0)
			return false;
		logcore_nap_ms();
	}
	return true;
}

static inline void logcore_lock(atomic_int *lock)
{
	if (logcore_trylock(lock))
		return;
	while (atomic_exchange(lock, 2) != 0)
		logcore_futex_wait(lock, 2, NULL);
}

static inline void logcore_unlock(atomic_int *lock)
{
	if (atomic_exchange(lock, 0) == 2)
		logcore_futex_wake(lock);
}

#endif
