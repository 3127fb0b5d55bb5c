/*
 * process.h - events of the process that buffers react to: fork, the end of a thread,
 * exit, crash. Private to the library.
 *
 * Owns the list of members that receive them, the signal handlers, and the token of the
 * process, which is 0 in a forked child, however it was forked.
 */
#ifndef LOGCORE_PROCESS_H
#define LOGCORE_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum process_event {
	PROCESS_FORKS,                  /* in the parent, before fork() */
	PROCESS_FORKED,                 /* in the child */
	PROCESS_THREAD_ENDS,            /* the calling thread */
	PROCESS_EXITS,
	PROCESS_CRASHES                 /* within a signal handler */
};

struct process_member {
	void (*on)(struct process_member *m, enum process_event event);
	_Atomic uint64_t device, inode; /* of the file that the member has locked */
	struct process_member *_Atomic next;
};

/* `handlers`: install handlers for crash signals, which stay. 0 or -errno. */
int logcore_process_join(struct process_member *m, bool handlers);
void logcore_process_leave(struct process_member *m);

/* Send PROCESS_THREAD_ENDS when the calling thread ends. */
void logcore_process_watch_thread(void);

/* Whether a member has locked that file. Opening and closing it would drop the lock. */
bool logcore_process_holds(uint64_t device, uint64_t inode);

/* The token of this process, at least 2^32; 0 in a forked child that has none yet. Valid
 * after the first join. */
extern _Atomic uint64_t *logcore_process_guard;
static inline uint64_t logcore_process_now(void)
{
	return atomic_load_explicit(logcore_process_guard, memory_order_relaxed);
}

/* The token; a forked child gets a new one. */
uint64_t logcore_process_token(void);

/* Barrier in all threads (membarrier(2)), so that the hot path needs none. */
void logcore_process_fence(void);

#endif
