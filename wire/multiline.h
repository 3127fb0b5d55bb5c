/*
 * multiline.h - join lines of plain text to records: a stack trace belongs to the line before
 * it. Pure functions on text; lines of JSON are never joined.
 */
#ifndef WIRE_MULTILINE_H
#define WIRE_MULTILINE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/text.h"

enum {
	JOIN_BYTES_MAX = 64 * 1024,     /* a record of several lines is at most so long */
	JOIN_LINES_MAX = 500,
};

/* Is the line an object, as far as its first character says? */
bool join_is_object(struct text line);

/*
 * `t` begins with a whole line of plain text and may end in the middle of one. Gives
 * the length of the record that begins it, without its last newline. *ret_open: `t`
 * ends before it is known where the record ends.
 */
size_t join_record(struct text t, bool *ret_open);

#endif
