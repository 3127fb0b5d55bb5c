#include "writer.h"

#include <signal.h>

#include "futex.h"
#include "process.h"

enum { AWAKE, NAPPING, ASLEEP };

enum {
	NAP_MIN_US = 100, NAP_MAX_US = 50000,
	MUCH = 32 * 1024,               /* bytes found at once: come back soon */
	STACK_SIZE = 256 * 1024
};

static void nap(struct writer *w, int state, unsigned us)
{
	struct timespec most = { 0, us * 1000L };

	atomic_store(&w->state, state);
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load(&w->stop) && (state == NAPPING || !w->pending(w->buffers)))
		logcore_futex_wait(&w->state, state, state == ASLEEP ? NULL : &most);
}

/* Nap longer while few lines come; after the longest nap without a line, sleep until woken. */
static void *run(void *arg)
{
	struct writer *w = arg;
	unsigned us = NAP_MIN_US;

	while (!atomic_load(&w->stop)) {
		size_t n = w->pending(w->buffers);

		if (n)
			w->write(w->buffers);
		us = n >= MUCH ? NAP_MIN_US : us * 2 < NAP_MAX_US ? us * 2 : NAP_MAX_US;
		nap(w, n == 0 && us == NAP_MAX_US ? ASLEEP : NAPPING, us);
		atomic_store(&w->state, AWAKE);
	}
	return NULL;
}

int logcore_writer_start(struct writer *w, size_t (*pending)(const void *), void (*write)(void *),
			 void *buffers)
{
	pthread_attr_t attr;
	sigset_t every, old;
	int error;

	*w = (struct writer){ .pending = pending, .write = write, .buffers = buffers };
	sigfillset(&every);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_sigmask(SIG_BLOCK, &every, &old);
	error = pthread_create(&w->thread, &attr, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (error)
		return -error;
	pthread_setname_np(w->thread, "logcore");
	w->process = logcore_process_token();
	return 0;
}

static void wake(struct writer *w)
{
	if (atomic_exchange(&w->state, AWAKE) != AWAKE)
		logcore_futex_wake(&w->state);
}

void logcore_writer_look(struct writer *w, struct ring *r)
{
	int state;

	/* First put, then read the state; nap() does the reverse, so one of the two sees the other. */
	atomic_thread_fence(memory_order_seq_cst);
	state = atomic_load_explicit(&w->state, memory_order_relaxed);
	if (state == ASLEEP || (state == NAPPING && logcore_ring_is_fuller(r, r->size / 2)))
		wake(w);
}

void logcore_writer_stop(struct writer *w)
{
	if (!w->process || w->process != logcore_process_now())
		return;
	atomic_store(&w->stop, true);
	wake(w);
	pthread_join(w->thread, NULL);
	w->process = 0;
}
