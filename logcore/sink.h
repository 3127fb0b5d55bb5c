/*
 * sink.h - where a logger and all its children write. Private to the library.
 *
 * Owns the descriptor, what is counted, and the memory of lines that were lost.
 * Promises one write(2) a line, no lock, and that no signal (SIGPIPE) comes of it.
 */
#ifndef LOGCORE_SINK_H
#define LOGCORE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "logcore.h"

struct sink;

/* NULL and *ret_error (an errno value) on failure. `path` or `fd` as in the options. */
struct sink *logcore_sink_open(const char *path, int fd, int *ret_error);
int logcore_sink_reopen(struct sink *s);
void logcore_sink_close(struct sink *s);

/* Write one line. False: it was not written, or not to its end. */
bool logcore_sink_write(struct sink *s, const char *line, size_t n);

void logcore_sink_count_cut(struct sink *s);
void logcore_sink_stats(struct sink *s, struct logcore_counters *ret);

/* What was lost since it was last told of. */
struct lost {
	uint32_t lines;
	int error;                      /* of the last one */
	bool torn;                      /* the file ends in the middle of a line */
};

/* Count a line as lost. */
void logcore_sink_lose(struct sink *s);

/* Whether anything is untold; one load. */
bool logcore_sink_lost(struct sink *s);

/* Take what is untold, to tell of it; if that fails, give it back. */
struct lost logcore_sink_take_lost(struct sink *s);
void logcore_sink_give_back(struct sink *s, struct lost lost);

#endif
