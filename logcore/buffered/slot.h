/*
 * slot.h - a ring, the one thread that puts into it, and whoever takes. Private to
 * the library.
 *
 * Owns the lock of who takes, and the mark that the thread is in here. Promises that a
 * signal handler never waits for what its own thread has: it sees the mark and does
 * without the ring.
 */
#ifndef LOGCORE_SLOT_H
#define LOGCORE_SLOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "logcore/sink.h"

#include "ring.h"

struct slot {
	_Alignas(64) _Atomic uintptr_t owner;   /* a thread, see logcore_slot_me(); 0: free */
	atomic_int busy;                        /* its thread is in here */
	struct ring ring;
	_Atomic uint64_t lines, bytes;          /* that were put; only the owner adds */
	_Alignas(64) atomic_int lock;           /* of whoever takes */
};

/* Differs from that of every thread that lives. */
uintptr_t logcore_slot_me(void);

static inline bool logcore_slot_is_mine(const struct slot *s)
{
	return atomic_load_explicit(&s->owner, memory_order_relaxed) == logcore_slot_me();
}

/* By the owner, around what a signal handler of it must not come into. False: this is
 * such a handler. */
static inline bool logcore_slot_enter(struct slot *s)
{
	if (atomic_load_explicit(&s->busy, memory_order_relaxed))
		return false;
	atomic_store_explicit(&s->busy, 1, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	return true;
}

static inline void logcore_slot_leave(struct slot *s)
{
	atomic_store_explicit(&s->busy, 0, memory_order_release);
}

/* Within enter and leave: add a line, and count it. False: there is no room. */
bool logcore_slot_put(struct slot *s, const char *line, size_t n);

/* Write what is there at this moment, having waited for the lock; no longer than *left_ms, which
 * becomes less by it, if that is not NULL. False: it was not enough, or not all could be written. */
bool logcore_slot_drain(struct slot *s, struct sink *sink, int64_t now_us, int *left_ms);

/* In a forked child, where it is the parent's: as if it had never been, but for the counts. */
void logcore_slot_forget(struct slot *s);

#endif
