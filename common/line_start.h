/*
 * line_start.h - a regular expression that tells which lines begin a record.
 *
 * Owns a compiled POSIX extended expression. Promises that neither compiling nor matching takes
 * long, whatever the expression and the line: repetitions are limited, references back (\1) are
 * refused, and only the beginning of a line is looked at. Leaves out what the other lines mean.
 */
#ifndef COMMON_LINE_START_H
#define COMMON_LINE_START_H

#include <stdbool.h>

#include "err.h"
#include "text.h"

enum {
	LINE_START_PATTERN_MAX = 512,   /* bytes of an expression */
	LINE_START_REPEATS_MAX = 1000,  /* the product of what stands in its braces, as in {3} or {1,40} */
	LINE_START_BYTES = 1024,        /* of a line are looked at */
};

struct line_start;

/* Compile `pattern`. -EINVAL with "what; how to fix it". Free it with line_start_free(). */
int line_start_compile(struct line_start **ret, const char *pattern, struct err *e);

/* Does the line, without its newline, begin a record? */
bool line_start_matches(const struct line_start *p, struct text line);

void line_start_free(struct line_start *p);

#endif
