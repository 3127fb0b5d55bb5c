/*
 * log_trace.h - how crashes and stack traces begin and go on, in the languages that we know.
 *
 * Pure functions on single lines. Leaves out which lines are one record (multiline.h).
 */
#ifndef WIRE_LOG_TRACE_H
#define WIRE_LOG_TRACE_H

#include <stdbool.h>

#include "common/level.h"
#include "common/text.h"

/* What a trace's next lines look like. */
enum log_trace {
	TRACE_NONE,
	TRACE_PYTHON,                   /* frames, then the line that names the exception */
	TRACE_GO,                       /* goroutines, calls, blank lines */
	TRACE_NODE,                     /* place, source, caret, blank, error, frames, blank, version */
	TRACE_OTHER,
};

/* Does the line begin a crash by itself? Gives its level and what may follow. */
enum log_trace log_trace_begins(struct text line, enum log_level *ret);

/* Does the line belong to what stands before it, whatever that is? "Caused by: ", "... 12 more", "}". */
bool log_trace_goes_on(struct text line);

/* A frame of a Go trace, or what stands between goroutines. */
bool log_trace_is_go(struct text line);

/* Python's sentence between two chained traces. */
bool log_trace_chains(struct text line);

/* "java.io.IOException: no such file", "TypeError: x", at the beginning of the line. */
bool log_trace_names_exception(struct text line);

/* The same without a package: it may be prose, unless frames follow. */
bool log_trace_may_name_exception(struct text line);

/* "    at App.main(App.java:5)", "\tfrom a.rb:5:in `x'": indented. */
bool log_trace_is_frame(struct text line);

#endif
