/*
 * slot.h - a ring, the thread that owns it, and the lock of the thread that drains it.
 * Private to the library.
 *
 * Owns that lock, and the mark `busy` of the owner. Promises that a signal handler never
 * waits for a lock that its thread holds: it sees the mark and does not use the ring.
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
	_Alignas(64) _Atomic uintptr_t owner;   /* logcore_slot_me() of a thread; 0: free */
	atomic_int busy;                        /* the owner is between enter and leave */
	struct ring ring;
	_Atomic uint64_t lines, bytes;          /* put so far; only the owner adds */
	_Alignas(64) atomic_int lock;           /* of the thread that drains */
};

/* A number for the calling thread; no other living thread has the same. */
uintptr_t logcore_slot_me(void);

static inline bool logcore_slot_is_mine(const struct slot *s)
{
	return atomic_load_explicit(&s->owner, memory_order_relaxed) == logcore_slot_me();
}

/* The owner calls these around code that its signal handlers must not enter. False: the
 * caller is such a handler. */
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

/* Between enter and leave: add a line and count it. False: the ring is full. */
bool logcore_slot_put(struct slot *s, const char *line, size_t n);

/* Take the lock and write what the ring has at this moment. Unless left_ms is NULL, wait for the
 * lock at most *left_ms and subtract the time waited. False: the lock stayed taken, or a part
 * could not be written. */
bool logcore_slot_drain(struct slot *s, struct sink *sink, int64_t now_us, int *left_ms);

/* In a forked child: unmap the parent's ring and reset the slot; the counts stay. */
void logcore_slot_forget(struct slot *s);

#endif
