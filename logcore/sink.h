/*
 * sink.h - where a logger and all its children write. Private to the library.
 *
 * Owns the file, what is counted, and the memory of lines that were lost: once
 * writing works again, a line of its own says how many.
 * Promises one write(2) a line, no lock, and that no signal (SIGPIPE) comes of it.
 */
#ifndef LOGCORE_SINK_H
#define LOGCORE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "file.h"
#include "logcore.h"

struct sink;

/* NULL and *ret_error (an errno value) on failure. Lines about lost lines are of the
 * logger `name`. */
struct sink *logcore_sink_open(const struct file_options *o, const char *name, bool priority, int *ret_error);
struct file *logcore_sink_file(struct sink *s);
void logcore_sink_close(struct sink *s);

/* Write one line now, or count it as lost. */
void logcore_sink_put(struct sink *s, const char *line, size_t n, int64_t now_us);

/* Write lines that are counted elsewhere; returns how many bytes of them were written. */
size_t logcore_sink_write(struct sink *s, const char *bytes, size_t n, int64_t now_us);

/* Say what was lost, if anything was. False: writing does not work yet. */
bool logcore_sink_tell(struct sink *s, int64_t now_us);

/* Count a line as lost. */
void logcore_sink_lose(struct sink *s);

void logcore_sink_count_cut(struct sink *s);
void logcore_sink_count_redacted(struct sink *s, unsigned n);
void logcore_sink_stats(struct sink *s, struct logcore_counters *ret);

#endif
