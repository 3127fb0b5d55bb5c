/*
 * line.h - one log line, from its parts to bytes. Private to the library.
 */
#ifndef LOGCORE_LINE_H
#define LOGCORE_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "logcore.h"

struct redact;

enum { LINE_NAME_ROOM = 32 };

struct line {
	struct timespec time;
	int level;
	bool priority;                  /* "<6>" in front */
	bool bound_cut;                 /* the bound fields were cut when they were bound */
	const char *name;               /* a JSON string, quotes included, in LINE_NAME_ROOM bytes or more */
	size_t name_len;
	const char *bound;              /* "k":v,"k":v as JSON */
	size_t bound_len;
	const char *message;
	size_t message_len;
	bool message_is_safe;           /* there can be no secret in it */
	const struct logcore_field *fields;
	const struct redact *redact;    /* NULL: secrets are written */
	const void *caller;             /* where the logging call returns to */
};

/* What became of it. */
struct made {
	size_t len;
	bool cut;                       /* something was cut or left out now */
	unsigned redacted;              /* secrets that were left out */
};

/*
 * Write the line with its newline to `room` of `size` bytes (at least
 * LOGCORE_LINE_MIN; name and bound fields may take half of it). Each text is cut
 * at text_max bytes. A line of which anything was cut, or whose bound fields were,
 * says so.
 */
struct made logcore_line(char *room, size_t size, size_t text_max, const struct line *l);

/* 0 for TRACE to 5 for CRITICAL, whatever the number is. */
unsigned logcore_level_index(int level);

#endif
