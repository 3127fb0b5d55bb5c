/*
 * process.h - what happens to the process that buffers must know of: it forks, a
 * thread of it ends, it exits, it crashes. Private to the library.
 *
 * Owns the list of those who are told, the signal handlers, and the token of the
 * process, which a forked child finds gone however it was forked.
 */
#ifndef LOGCORE_PROCESS_H
#define LOGCORE_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum process_event {
	PROCESS_FORKS,                  /* soon: in the parent, before */
	PROCESS_FORKED,                 /* in the child */
	PROCESS_THREAD_ENDS,            /* the calling one */
	PROCESS_EXITS,
	PROCESS_CRASHES                 /* within a signal handler */
};

struct process_member {
	void (*on)(struct process_member *m, enum process_event event);
	_Atomic uint64_t device, inode; /* of a file that it has locked */
	struct process_member *_Atomic next;
};

/* `handlers`: catch the signals of a crash, from now on. 0 or -errno. */
int logcore_process_join(struct process_member *m, bool handlers);
void logcore_process_leave(struct process_member *m);

/* Tell of the end of this thread when it comes. */
void logcore_process_watch_thread(void);

/* Whether a member has that file locked: to open and close it would unlock it. */
bool logcore_process_holds(uint64_t device, uint64_t inode);

/* The token of this process, at least 2^32; 0 where it has none yet, which is in a
 * forked child only. Valid after the first join. */
extern _Atomic uint64_t *logcore_process_guard;
static inline uint64_t logcore_process_now(void)
{
	return atomic_load_explicit(logcore_process_guard, memory_order_relaxed);
}

/* The same, made if need be. */
uint64_t logcore_process_token(void);

/* A fence in all threads, for those that do without one because they are here so often. */
void logcore_process_fence(void);

#endif
