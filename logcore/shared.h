/*
 * shared.h - the part that a logger and its children share: where lines go, and which
 * secrets are replaced. Private to the library.
 */
#ifndef LOGCORE_SHARED_H
#define LOGCORE_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "logcore/buffered/buffers.h"
#include "logcore/redact/redact.h"

#include "line.h"
#include "logcore.h"
#include "sink.h"

struct shared {
	struct sink *sink;
	struct buffers *buffers;        /* NULL: each line is written at once */
	size_t line_max;
	bool priority;
	struct redact *redact;
	atomic_uint loggers;            /* open loggers; the last one frees this */
};

/* Takes options from logcore_options_read(). NULL and *ret_error (an errno value) on failure. */
struct shared *logcore_shared_open(const struct logcore_options *o, int *ret_error);
void logcore_shared_close(struct shared *shared);

/* Write or buffer the line. */
void logcore_shared_put(struct shared *shared, const struct line *l, const char *bytes, size_t n);

#endif
