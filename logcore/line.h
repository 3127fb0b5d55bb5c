/*
 * line.h - one log line, from its parts to bytes. Private to the library.
 */
#ifndef LOGCORE_LINE_H
#define LOGCORE_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "logcore.h"

struct line {
	struct timespec time;
	int level;
	bool priority;                  /* "<6>" in front */
	bool bound_cut;                 /* the bound fields were cut when they were bound */
	const char *name;               /* a JSON string, quotes included */
	size_t name_len;
	const char *bound;              /* "k":v,"k":v as JSON */
	size_t bound_len;
	const char *message;
	size_t message_len;
	const struct logcore_field *fields;
	const void *caller;             /* where the logging call returns to */
};

/*
 * Write the line with its newline to `room` of `size` bytes (at least
 * LOGCORE_LINE_MIN; name and bound fields may take half of it). Each text is cut
 * at text_max bytes. *ret_cut tells whether anything was cut or left out now;
 * a line where that is so, or whose bound fields were cut, says so.
 */
size_t logcore_line(char *room, size_t size, size_t text_max, const struct line *l, bool *ret_cut);

/* 0 for TRACE to 5 for CRITICAL, whatever the number is. */
unsigned logcore_level_index(int level);

#endif
