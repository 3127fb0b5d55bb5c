/*
 * buffers.h - a ring for each thread between the logger and its sink: the modes
 * "buffered" and "asynchronous". Private to the library.
 *
 * Owns the rings and the file that holds them, and the writer thread if there is one.
 * Promises that lines of one thread stay in order, that nothing is lost when the
 * process forks, exits, crashes or is killed (see leftovers.h), and that a signal
 * handler may log at any instant: where it cannot use its thread's ring, the caller is
 * told to write by itself.
 */
#ifndef LOGCORE_BUFFERS_H
#define LOGCORE_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "logcore/logcore.h"
#include "logcore/sink.h"

struct buffers;

struct buffers_options {
	size_t size;                    /* of a thread's ring, at least LOGCORE_LINE_MAX */
	bool async;
	bool block;                     /* rather than drop, when async and full */
	bool handlers;                  /* catch the signals of a crash */
};

/* The sink stays the caller's. NULL and *ret_error (an errno value) on failure. */
struct buffers *logcore_buffers_open(struct sink *sink, const struct buffers_options *o, int *ret_error);
void logcore_buffers_close(struct buffers *b);

/* Take a line, or count it as lost. False: write it yourself. */
bool logcore_buffers_put(struct buffers *b, int level, const char *line, size_t n, int64_t now_us);

/* Write what is there. 0, or -EIO when it could not all be written and is kept. */
int logcore_buffers_flush(struct buffers *b);

/* Add to lines and bytes what went in here. */
void logcore_buffers_count(const struct buffers *b, struct logcore_counters *add);

#endif
