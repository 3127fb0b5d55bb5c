/*
 * log_text.h - what stands in front of the message in a line of plain text.
 *
 * Reads formats by their parts: a time, a level, a logger, a process, a place in the source,
 * in whatever order and brackets a logger puts them. Promises that a line in which neither a
 * time nor a level is found is left as it is: prose has no prefix. Leaves out access logs and
 * key=value pairs (log_fields.h), and records of several lines (multiline.h).
 */
#ifndef WIRE_LOG_TEXT_H
#define WIRE_LOG_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/level.h"
#include "common/text.h"
#include "log_time.h"

enum { LOG_TEXT_FIELDS_MAX = 64, LOG_TEXT_PIECES_MAX = 16 };

enum log_text_kind {
	FIELD_TEXT,
	FIELD_JSON,                     /* a number, or a string with its quotes that is JSON as it stands */
	FIELD_DOUBLED,                  /* within quotes that are written twice, as CSV does */
};

/* What the line names besides; a key of the row's context. */
struct log_text_field {
	struct text name;               /* "pid", "thread", "caller", "host" ... */
	struct text value;              /* points into the line */
	enum log_text_kind kind;
};

struct log_text {
	bool timed, leveled;            /* found; the members below hold then */
	bool dated;                     /* the time has a day */
	int64_t us;
	struct text time;               /* as it stood */
	enum log_level level;
	struct text logger;             /* absent: none was named */
	size_t prefix;                  /* so many bytes stand in front of the message; 0: no prefix */
	struct log_text_field message;  /* of a line that is all fields; else .value.s is NULL */
	unsigned n;
	struct log_text_field field[LOG_TEXT_FIELDS_MAX];
};

/*
 * Read the prefix of `line`, which has no colours and no newline. False: it has none, and *ret
 * is empty. The spans in *ret point into `line`.
 */
bool log_text_read(struct log_clock *c, struct text line, struct log_text *ret);

/* Of a local struct log_text: it is large, and its writer begins with log_text_clear(). */
#define LOG_TEXT_UNSET __attribute__((uninitialized))

/* Nothing is found. */
static inline void log_text_clear(struct log_text *t)
{
	t->timed = t->leveled = t->dated = false;
	t->logger = t->time = t->message.value = (struct text){ NULL, 0 };
	t->prefix = t->n = 0;
}

/* Without the fields that are not there: they are most of its size. */
static inline void log_text_copy(struct log_text *to, const struct log_text *t)
{
	memcpy(to, t, offsetof(struct log_text, field) + t->n * sizeof *t->field);
}

/* Append a field, unless it is empty, there is no room, or one of that name is there. */
void log_text_add(struct log_text *t, struct text name, struct text value);

#endif
