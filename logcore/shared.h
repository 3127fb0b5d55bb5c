/*
 * shared.h - what a logger shares with its children: where lines go, and which secrets
 * stay out of them. Private to the library.
 */
#ifndef LOGCORE_SHARED_H
#define LOGCORE_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "logcore/buffered/buffers.h"

#include "line.h"
#include "logcore.h"
#include "redact.h"
#include "sink.h"

struct shared {
	struct sink *sink;
	struct buffers *buffers;        /* NULL: each line is written when it comes */
	size_t line_max;
	bool priority;
	struct redact *redact;
	atomic_uint loggers;            /* that are open; the last one frees this */
};

/* Of options that were read. NULL and *ret_error (an errno value) on failure. */
struct shared *logcore_shared_open(const struct logcore_options *o, int *ret_error);
void logcore_shared_close(struct shared *shared);

/* The line to where lines go. */
void logcore_shared_put(struct shared *shared, const struct line *l, const char *bytes, size_t n);

#endif
