#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK_BYTES = 512 << 10 };

/* Shared by the loop and the thread; the last one frees it. */
struct worker {
	struct worker_job job;
	atomic_int owners;
	atomic_bool over; /* what the work has written is seen by who reads this */
	int fd;           /* an eventfd: the work is over */
	sd_event_source *io;
};

static void unref(struct worker *w)
{
	if (atomic_fetch_sub(&w->owners, 1) > 1)
		return;
	w->job.free(w->job.job);
	close(w->fd);
	free(w);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t one = 1;
	ssize_t written;

	w->job.work(w->job.job);
	atomic_store(&w->over, true);
	written = write(w->fd, &one, sizeof one); /* an eventfd always takes another write */
	(void)written;
	unref(w);
	return NULL;
}

/* Signals are for the loop. */
static int start_thread(struct worker *w)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int r = pthread_attr_init(&attr);

	if (r)
		return r;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&thread, &attr, work, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

static int on_over(sd_event_source *s, int fd, uint32_t revents, void *data)
{
	struct worker *w = data;

	(void)s;
	(void)fd;
	(void)revents;
	if (!atomic_load(&w->over))
		return 0;
	w->io = sd_event_source_disable_unref(w->io);
	w->job.done(w->job.data);
	return 0;
}

int worker_start(sd_event *loop, const struct worker_job *job, struct worker **ret, struct err *e)
{
	struct worker *w = calloc(1, sizeof *w);
	int error;

	if (!w)
		return err_set(e, ENOMEM, "out of memory for a thread");
	w->job = *job;
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = w->fd < 0 ? errno : -sd_event_add_io(loop, &w->io, w->fd, EPOLLIN, on_over, w);
	if (error <= 0) {
		atomic_init(&w->owners, 2);
		atomic_init(&w->over, false);
		error = start_thread(w);
	}
	if (error > 0) {
		sd_event_source_disable_unref(w->io);
		if (w->fd >= 0)
			close(w->fd);
		free(w);
		return err_set(e, error, "no thread can be started: %s", strerror(error));
	}
	*ret = w;
	return 0;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	w->io = sd_event_source_disable_unref(w->io);
	unref(w);
}
