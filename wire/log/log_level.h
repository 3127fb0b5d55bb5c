/*
 * log_level.h - the words, letters and numbers by which programs say how bad it is.
 *
 * Owns the table of words and the families of numbers. Leaves out where in a line a level
 * stands (log_text.h) and which key of an object holds it (log_keys.h).
 */
#ifndef WIRE_LOG_LEVEL_H
#define WIRE_LOG_LEVEL_H

#include <stdbool.h>
#include <stdio.h>

#include "common/text.h"
#include "common/level.h"

/* How sure a word is a level where prose may stand as well. */
enum log_level_kind {
	LEVEL_PLAIN,                    /* error, INFO, WRN: given the case, no sentence begins so */
	LEVEL_ALSO_PROSE,               /* fine, notice: a level only where nothing else can stand */
	LEVEL_FRAMED,                   /* note, success, system: only in brackets, or behind a time */
};

/* Which numbers a logger counts in, as far as the key or the other keys tell. */
enum log_level_family {
	LEVELS_ANY,                     /* by size: syslog, pino, Monolog, java.util.logging, log4j */
	LEVELS_PYTHON,                  /* 10 debug ... 50 critical */
	LEVELS_OPENTELEMETRY,           /* 1-4 trace ... 21-24 fatal */
	LEVELS_NEXTCLOUD,               /* 0 debug ... 4 fatal */
	LEVELS_TSLOG,                   /* 0 silly ... 6 fatal */
	LEVELS_NONE,                    /* in none: numbers are no levels here */
};

/* The level that a word stands for, in any case ("warn", "ERROR", "notice"). `ret_kind` may be NULL. */
bool log_level_word(struct text word, enum log_level *ret, enum log_level_kind *ret_kind);

/* The level that a number stands for; false: that family has no such number. */
bool log_level_number(struct text number, enum log_level_family family, enum log_level *ret);

/* The severity of a syslog priority (facility * 8 + severity), 0 to 191. */
bool log_level_priority(struct text number, enum log_level *ret);

/* The single letter of glog, klog, Ruby and Android. */
bool log_level_letter(char letter, enum log_level *ret);

/* The table of words, as Markdown. */
void log_level_print(FILE *out);

#endif
