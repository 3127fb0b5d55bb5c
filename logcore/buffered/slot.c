#include "slot.h"

#include <pthread.h>

#include "futex.h"

/* In static TLS, see line.c: each thread has another address of it. */
static _Thread_local char here __attribute__((tls_model("initial-exec")));

uintptr_t logcore_slot_me(void)
{
	return (uintptr_t)&here;
}

bool logcore_slot_put(struct slot *s, const char *line, size_t n)
{
	uint64_t lines = atomic_load_explicit(&s->lines, memory_order_relaxed);
	uint64_t bytes = atomic_load_explicit(&s->bytes, memory_order_relaxed);

	if (!logcore_ring_put(&s->ring, line, n))
		return false;
	atomic_store_explicit(&s->lines, lines + 1, memory_order_relaxed);
	atomic_store_explicit(&s->bytes, bytes + n, memory_order_relaxed);
	return true;
}

/* The lock is held, so the thread must not be cancelled here. */
static bool drain(struct slot *s, struct sink *sink, int64_t now_us)
{
	bool done;
	int cancel;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	done = logcore_ring_drain(&s->ring, sink, now_us);
	pthread_setcancelstate(cancel, NULL);
	return done;
}

bool logcore_slot_drain(struct slot *s, struct sink *sink, int64_t now_us, int *left_ms)
{
	bool entered = logcore_slot_is_mine(s) && logcore_slot_enter(s), done = true;

	if (!left_ms)
		logcore_lock(&s->lock);
	else
		done = logcore_trylock_for(&s->lock, left_ms);
	if (done) {
		done = drain(s, sink, now_us);
		logcore_unlock(&s->lock);
	}
	if (entered)
		logcore_slot_leave(s);
	return done;
}

void logcore_slot_forget(struct slot *s)
{
	logcore_ring_unmap(&s->ring);
	atomic_store(&s->owner, 0);
	atomic_store(&s->lock, 0);
	atomic_store(&s->busy, 0);
}
