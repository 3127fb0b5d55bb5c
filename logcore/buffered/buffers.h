/*
 * buffers.h - a ring for each thread between the logger and its sink: the modes
 * "buffered" and "asynchronous". Private to the library. DESIGN.md tells the protocol.
 *
 * Owns the rings, the file that holds them, and the writer thread if there is one.
 * Promises that lines of one thread stay in order, that nothing is lost when the
 * process forks, exits, crashes or is killed (see leftovers.h), and that a signal
 * handler may log at any instant: if it cannot use its thread's ring,
 * logcore_buffers_put() tells the caller to write the line directly.
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
	size_t size;                    /* bytes of a ring, at least LOGCORE_LINE_MAX */
	bool async;
	bool block;                     /* async, ring full: wait instead of dropping the line */
	bool handlers;                  /* install handlers for crash signals */
};

/* Borrows the sink. NULL and *ret_error (an errno value) on failure. */
struct buffers *logcore_buffers_open(struct sink *sink, const struct buffers_options *o, int *ret_error);
void logcore_buffers_close(struct buffers *b);

/* Take a line, or count it as lost. False: the caller must write it. */
bool logcore_buffers_put(struct buffers *b, int level, const char *line, size_t n, int64_t now_us);

/* Write all rings. 0, or -EIO when some lines could not be written; they stay in their rings. */
int logcore_buffers_flush(struct buffers *b);

/* Add the lines and bytes that were put into rings. */
void logcore_buffers_count(const struct buffers *b, struct logcore_counters *add);

#endif
