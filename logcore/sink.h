/*
 * sink.h - where a logger and all its children write. Private to the library.
 *
 * Owns the file, the counters, and the number of lost lines: once writing works again, a
 * line reports it. Promises one write(2) a line, no lock, and no SIGPIPE.
 */
#ifndef LOGCORE_SINK_H
#define LOGCORE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "file.h"
#include "logcore.h"

struct sink;

/* NULL and *ret_error (an errno value) on failure. `name` is the logger of lines that report
 * lost lines. */
struct sink *logcore_sink_open(const struct file_options *o, const char *name, bool priority, int *ret_error);
struct file *logcore_sink_file(struct sink *s);
void logcore_sink_close(struct sink *s);

/* Write one line now, or count it as lost. */
void logcore_sink_put(struct sink *s, const char *line, size_t n, int64_t now_us);

/* Write lines without counting them. Returns how many bytes were written. */
size_t logcore_sink_write(struct sink *s, const char *bytes, size_t n, int64_t now_us);

/* Report lost lines, if there are any. False: writing does not work yet. */
bool logcore_sink_tell(struct sink *s, int64_t now_us);

/* Count a line as lost. */
void logcore_sink_lose(struct sink *s);

void logcore_sink_count_cut(struct sink *s);
void logcore_sink_count_redacted(struct sink *s, unsigned n);
void logcore_sink_stats(struct sink *s, struct logcore_counters *ret);

#endif
