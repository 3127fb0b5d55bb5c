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
	bool priority;                  /* write "<6>" in front */
	bool bound_cut;                 /* the bound fields were already cut by logcore_child() */
	const char *name;               /* a JSON string; its buffer has at least LINE_NAME_ROOM bytes */
	size_t name_len;
	const char *bound;              /* "k":v,"k":v as JSON */
	size_t bound_len;
	const char *message;
	size_t message_len;
	bool message_is_safe;           /* a constant: no search for secrets */
	const struct logcore_field *fields;
	const struct redact *redact;    /* NULL: secrets are not searched */
	const void *caller;             /* return address of the logging call */
};

/* The result. */
struct made {
	size_t len;
	bool cut;                       /* a text was cut or a field left out */
	unsigned redacted;              /* secrets that were replaced */
};

/*
 * Write the line and its newline to `room`, which has `size` bytes (at least
 * LOGCORE_LINE_MIN; name and bound fields may take half of it). Cuts each text at text_max
 * bytes. If anything is cut, or bound_cut is set, the line has "truncated":true.
 */
struct made logcore_line(char *room, size_t size, size_t text_max, const struct line *l);

/* 0 for TRACE to 5 for CRITICAL, for any number. */
unsigned logcore_level_index(int level);

#endif
