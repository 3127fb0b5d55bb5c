#include "process.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "futex.h"

enum { WAIT_MS = 1000 };                /* for a lock that the interrupted code may hold */

_Atomic uint64_t *logcore_process_guard;

/* The only process-wide state: handlers of signals, fork and exit get no argument. */
static struct {
	pthread_once_t once;
	int error;
	pthread_key_t key;
	atomic_int lock;                /* of the list; the crash handler does not take it */
	struct process_member *_Atomic first;
	atomic_bool handlers;
} all = { .once = PTHREAD_ONCE_INIT };

static void tell(enum process_event event)
{
	for (struct process_member *m = atomic_load(&all.first); m; m = atomic_load(&m->next))
		m->on(m, event);
}

/* ---- fork, exit, the end of a thread ------------------------------------------------- */

/* Give up after a while: the holder may be the code that a signal handler interrupted before it
 * called fork() or exit(), or may write to a pipe that nobody reads. The list is consistent at any
 * instant; without the lock, only a member that is closed meanwhile is a danger. */
static bool lock_for_a_while(void)
{
	int left_ms = WAIT_MS;

	return logcore_trylock_for(&all.lock, &left_ms);
}

/* For each thread: several may fork at once. */
static _Thread_local bool locked_for_fork __attribute__((tls_model("initial-exec")));

static void before_fork(void)
{
	locked_for_fork = lock_for_a_while();
	if (locked_for_fork)
		tell(PROCESS_FORKS);
}

static void after_fork(void)
{
	if (locked_for_fork)
		logcore_unlock(&all.lock);
	locked_for_fork = false;
}

static void in_child(void)
{
	atomic_store(logcore_process_guard, 0);
	atomic_store(&all.lock, 0);
	locked_for_fork = false;
	tell(PROCESS_FORKED);
}

static void thread_ends(void *value)
{
	(void)value;
	logcore_lock(&all.lock);
	tell(PROCESS_THREAD_ENDS);
	logcore_unlock(&all.lock);
}

__attribute__((destructor)) static void at_exit(void)
{
	bool locked;

	if (!logcore_process_guard)
		return;
	locked = lock_for_a_while();
	tell(PROCESS_EXITS);
	if (locked)
		logcore_unlock(&all.lock);
}

/* ---- crash --------------------------------------------------------------------------- */

static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };
enum { SIGNALS = sizeof signals / sizeof *signals };
static struct sigaction before[SIGNALS];

/* A second crashing thread must not end the process while the first one writes. */
static void wait_for_other_crash(void)
{
	static atomic_int crashing;             /* a lock that is never released */
	int left_ms = WAIT_MS;

	logcore_trylock_for(&crashing, &left_ms);
}

/* Whether the faulting instruction will fault again: not a forbidden system call, and not an
 * asynchronous machine check. */
static bool comes_again(int signal, const siginfo_t *info)
{
	return info->si_code > 0 && signal != SIGSYS && !(signal == SIGBUS && info->si_code == BUS_MCEERR_AO);
}

/*
 * Restores the previous handler, which gets the signal next: a fault repeats when its
 * instruction runs again, and dumps core as if this handler had not been there; a signal that
 * was sent is sent again, and arrives when this returns.
 */
static void on_crash(int signal, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	wait_for_other_crash();
	tell(PROCESS_CRASHES);
	for (int i = 0; i < SIGNALS; i++)
		if (signals[i] == signal)
			sigaction(signal, &before[i], NULL);
	if (!comes_again(signal, info))
		raise(signal);
	errno = saved;
}

static void catch_crashes(void)
{
	struct sigaction act = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (atomic_exchange(&all.handlers, true))
		return;
	sigemptyset(&act.sa_mask);
	for (int i = 0; i < SIGNALS; i++)
		sigaction(signals[i], &act, &before[i]);
}

/* ---- token ---------------------------------------------------------------------------- */

uint64_t logcore_process_token(void)
{
	uint64_t now = atomic_load(logcore_process_guard), mine;
	struct timespec t;

	if (now)
		return now;
	clock_gettime(CLOCK_MONOTONIC, &t);
	mine = (uint64_t)(uint32_t)getpid() << 32 | (uint32_t)(t.tv_nsec ^ t.tv_sec);
	atomic_compare_exchange_strong(logcore_process_guard, &now, mine);
	return atomic_load(logcore_process_guard);
}

/* The guard is a page that the kernel zeroes in a child, also if fork() ran no pthread_atfork() handlers. */
static void set_up(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *guard = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (guard == MAP_FAILED) {
		all.error = errno;
		return;
	}
	madvise(guard, page, MADV_WIPEONFORK);
	all.error = pthread_key_create(&all.key, thread_ends);
	if (all.error == 0)
		all.error = pthread_atfork(before_fork, after_fork, in_child);
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	logcore_process_guard = guard;
	logcore_process_token();
}

void logcore_process_fence(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

/* ---- members -------------------------------------------------------------------------- */

int logcore_process_join(struct process_member *m, bool handlers)
{
	pthread_once(&all.once, set_up);
	if (all.error)
		return -all.error;
	logcore_lock(&all.lock);
	atomic_store(&m->next, atomic_load(&all.first));
	atomic_store(&all.first, m);
	logcore_unlock(&all.lock);
	if (handlers)
		catch_crashes();
	return 0;
}

void logcore_process_leave(struct process_member *m)
{
	struct process_member *_Atomic *link = &all.first;

	logcore_lock(&all.lock);
	while (atomic_load(link) && atomic_load(link) != m)
		link = &atomic_load(link)->next;
	if (atomic_load(link))
		atomic_store(link, atomic_load(&m->next));
	logcore_unlock(&all.lock);
}

bool logcore_process_holds(uint64_t device, uint64_t inode)
{
	bool found = false;

	logcore_lock(&all.lock);
	for (struct process_member *m = atomic_load(&all.first); m && !found; m = atomic_load(&m->next))
		found = atomic_load(&m->device) == device && atomic_load(&m->inode) == inode;
	logcore_unlock(&all.lock);
	return found;
}

void logcore_process_watch_thread(void)
{
	pthread_setspecific(all.key, &all);
}
