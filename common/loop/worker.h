/*
 * worker.h - runs what may block in a thread of its own, and tells the loop when it is over.
 *
 * Promises that the loop and the end of the process never wait for the thread. Leaves out any limit on the
 * number of threads.
 */
#ifndef OBSERV_WORKER_H
#define OBSERV_WORKER_H

#include <systemd/sd-event.h>

#include "common/err.h"

struct worker;

struct worker_job {
	void (*work)(void *job); /* in the thread; signals are blocked there */
	void (*free)(void *job); /* when both the thread and the loop need it no more, in either */
	void *job;
	void (*done)(void *data); /* in the loop, when work() has returned; worker_free() follows */
	void *data;
};

/* Start the thread. It has the job until done(); on failure the caller keeps it. */
int worker_start(sd_event *loop, const struct worker_job *job, struct worker **ret, struct err *e);

/* The loop needs the job no more; done() is not called after this. Accepts NULL. */
void worker_free(struct worker *w);

#endif
