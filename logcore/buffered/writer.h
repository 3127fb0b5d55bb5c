/*
 * writer.h - the thread that writes for the others in the asynchronous mode. Private
 * to the library.
 *
 * Promises that a logging thread wakes it (a system call) only when it sleeps for
 * good, or when a ring fills faster than it looks.
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
	uint64_t process;               /* whose thread it is; 0: there is none */
	atomic_int state;
	atomic_bool stop;
	size_t (*pending)(const void *buffers);    /* bytes to write */
	void (*write)(void *buffers);
	void *buffers;
};

/* 0 or -errno. */
int logcore_writer_start(struct writer *w, size_t (*pending)(const void *), void (*write)(void *),
			 void *buffers);

/* After a line was put into the ring. */
void logcore_writer_look(struct writer *w, struct ring *r);

/* Returns when it has ended; nothing when it is not this process's. */
void logcore_writer_stop(struct writer *w);

#endif
