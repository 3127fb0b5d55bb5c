/*
 * log_keys.h - under which names loggers put a line's time, level, logger and message.
 *
 * Owns the table: one row a name, in the order in which names are trusted. A name with a
 * point stands for itself and for a path into nested objects. Leaves out what the values mean
 * (log_time.h, log_level.h) and the line as a whole (log_line.h).
 */
#ifndef WIRE_LOG_KEYS_H
#define WIRE_LOG_KEYS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/text.h"
#include "wire/json_scan.h"
#include "log_level.h"

enum log_slot {
	SLOT_TIMESTAMP, SLOT_LEVEL, SLOT_LOGGER, SLOT_MESSAGE, SLOT_CONTEXT,
	SLOTS, SLOT_NONE = SLOTS
};

/* Kinds of values that a name may have to be taken for what it stands for. */
enum { TAKES_STRING = 1 << JSON_STRING, TAKES_NUMBER = 1 << JSON_NUMBER, TAKES_OBJECT = 1 << JSON_OBJECT,
       TAKES_ARRAY = 1 << JSON_ARRAY, TAKES_WORD = 1 << JSON_WORD };

struct log_key {
	struct text name;
	enum log_slot slot;
	uint8_t rank;                   /* of two names for one slot the lower is believed */
	uint8_t takes;
	enum log_level_family family;   /* of numbers in a level */
};

enum { LOG_KEY_MAX = 32 };              /* bytes of the longest name */

/* The table. The first rows are the members of logcore's lines, in their order. */
extern const struct log_key log_keys[];

/* The row of a name; NULL: it is nobody's. */
const struct log_key *log_key_find(struct text name);

/* Does an object under this name hold what a line lacks? "log" does, in "log.level". */
bool log_key_leads(struct text name);

/* The table, as Markdown. */
void log_key_print(FILE *out);

#endif
