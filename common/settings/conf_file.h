/*
 * conf_file.h - settings that are lines of "key = value", as in hub.conf and watch.conf.
 *
 * A line is "key = value", empty, or a comment that begins with '#'. Promises that an unknown key, an invalid
 * value or a key given twice refuses the file, with the line, and that a setting which is not given has its
 * default. A program has a table of keys: a row is the parser, the default and the manual.
 */
#ifndef OBSERV_CONF_FILE_H
#define OBSERV_CONF_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/arena.h"
#include "common/err.h"

enum { CONF_ARENA_SIZE = 64 * 1024 };   /* of the arena that has the values */

struct conf_key;

/* Write `value` into `to`, at the key's place. */
typedef int conf_reader(void *to, struct arena *arena, const struct conf_key *key, const char *value,
			struct err *e);

struct conf_key {
	const char *name;
	conf_reader *read;
	size_t at;                      /* offset of a const char *, or of an int64_t for numbers */
	const char *otherwise;          /* the default; NULL: none */
	const char *allowed;            /* of words: "one|two" */
	int64_t least, most;            /* of numbers */
	const char *help;               /* Markdown */
};

conf_reader conf_text, conf_word, conf_number;

/* The keys of one program: 32 at most. */
struct conf_table {
	const struct conf_key *keys;
	size_t n;
};

void conf_defaults(const struct conf_table *t, void *to, struct arena *arena);

/* Read the file. Without one, -ENOENT. */
int conf_file_read(const struct conf_table *t, void *to, struct arena *arena, const char *path,
		   struct err *e);

/* The keys as a table in Markdown. */
void conf_table_print(const struct conf_table *t, FILE *out);

#endif
