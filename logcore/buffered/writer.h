/*
 * writer.h - the thread that writes the rings in the asynchronous mode. Private to the
 * library.
 *
 * Promises that a logging thread makes a system call to wake it only when it sleeps
 * without a timeout, or when a ring is half full before its nap ends.
 */
#ifndef LOGCORE_WRITER_H
#define LOGCORE_WRITER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring.h"

struct writer {
	pthread_t thread;
	uint64_t process;               /* token of the process that has the thread; 0: no thread */
	atomic_int state;
	atomic_bool stop;
	size_t (*pending)(const void *buffers);    /* how many bytes there are to write */
	void (*write)(void *buffers);
	void *buffers;
};

/* 0 or -errno. */
int logcore_writer_start(struct writer *w, size_t (*pending)(const void *), void (*write)(void *),
			 void *buffers);

/* Call this after a line was put into the ring. */
void logcore_writer_look(struct writer *w, struct ring *r);

/* Returns when the thread has ended. Does nothing in a process that does not have it. */
void logcore_writer_stop(struct writer *w);

#endif
