/*
 * log_object.h - the members of a line that is a JSON object, sorted by what they mean.
 *
 * Finds the logger's own time, level, logger and message among all members, by the table of
 * log_keys.h and by what else the line has; the rest are extras, of which none is dropped.
 * Allocates nothing. Leaves out how the context is put together (log_line.h).
 */
#ifndef WIRE_LOG_OBJECT_H
#define WIRE_LOG_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/text.h"
#include "log_keys.h"

enum {
	OBJECT_DEPTH_MAX = 64,          /* nesting; deeper lines are kept as text */
	OBJECT_KEYS_MAX = 1000,         /* keys in all objects together; more: kept as text */
};

struct member {
	struct text key;                /* without quotes, escapes as they stand */
	struct text value;              /* JSON text; .s NULL: not there */
	enum json_kind type;
	bool escapes;                   /* in the value */
	bool lent;                      /* the value is part of an extra as well */
	uint16_t at;                    /* its place among the members */
	const struct log_key *row;      /* NULL: nobody's name */
};

struct members {
	size_t n;                       /* members so far */
	struct member slot[SLOTS];
	size_t n_extra;
	struct member extra[OBJECT_KEYS_MAX + SLOTS];   /* and what leaves its slot */
	bool direct;                    /* so far as logcore writes them */
	bool repeated;                  /* two keys of one object of a value may be equal */
};

enum object_verdict { OBJECT_NONE, OBJECT_GOOD, OBJECT_UNSTORABLE };

/*
 * Walk over `raw`, which is valid UTF-8 without NUL. OBJECT_NONE: it is no object, or beyond the
 * limits. OBJECT_UNSTORABLE: JSON, but PostgreSQL would refuse a value; json_repair() helps.
 */
enum object_verdict object_scan(struct text raw, struct members *m);

/* The members that the logger itself wrote go to their slots, as far as names and neighbours tell. */
void object_settle(struct members *m);

/* Take the member out of a slot, to the extras, and the next candidate for the slot from there. */
void object_next(struct members *m, enum log_slot slot);

void object_add_extra(struct members *m, const struct member *x);

/* The member of that name, wherever it went; NULL: the line has none. */
const struct member *object_find(const struct members *m, struct text name);

#endif
