/*
 * log_reading.h - the reading of a prefix, piece by piece. Private to log_text.c and its pieces.
 *
 * A piece is a function that takes what it knows from the beginning of r->rest, or leaves it
 * and says false. log_pieces.c has times, hosts, processes and places, log_pieces_level.c levels, both known
 * by their form; log_group.c has what stands in brackets, log_names.c names, known by what stands around
 * them, and log_ahead.c levels behind words that nobody knows.
 */
#ifndef WIRE_LOG_READING_H
#define WIRE_LOG_READING_H

#include <stdbool.h>
#include <string.h>

#include "chars.h"
#include "log_text.h"

enum { NAME_MAX_BYTES = 120, NAMES_MAX = 4 };

/* How likely a name in brackets is the logger. */
enum name_rank { NAME_OTHER, NAME_THREAD, NAME_PLAIN, NAME_BEHIND_LEVEL, NAME_QUALIFIED };

/* Where a group in brackets stands. */
enum group_place { ELSEWHERE, BEHIND_LEVEL, GLUED_TO_LEVEL };

struct bracketed {
	struct text text;
	enum name_rank rank;
};

struct reading {
	struct log_clock *clock;
	struct log_text *found;
	struct text rest;               /* what is not read yet */
	const char *begin;
	bool in_group;                  /* reading what stands in brackets, ... */
	enum group_place where;         /* ... and where these stand */
	bool indented;                  /* the line begins with blanks */
	bool syslog;                    /* a form of time behind which a host and a program stand */
	bool redis;                     /* a sign behind the time is the level */
	bool lettered;                  /* the level was Ruby's letter: its word may follow */
	bool named;                     /* the logger stood without brackets */
	const char *level_end;          /* right behind the level and its bracket; NULL: no level yet */
	unsigned names;                 /* words in brackets: loggers or threads, decided at the end */
	struct bracketed name[NAMES_MAX];
};

/* Names of loggers, modules, programs: "com.example.Shop$1", "app/worker", "__main__:<module>:5". */
static inline bool is_name(char c)
{
	switch (c) {
	case '_':
	case '.':
	case '$':
	case '/':
	case ':':
	case '<':
	case '>':
	case '@':
	case '#':
	case '*':
	case '-': return true;
	default: return is_letter(c) || is_digit(c);
	}
}

/* What was found. */
void reading_add(struct reading *r, const char *name, struct text value);
void reading_level(struct reading *r, enum log_level level, size_t len);
void reading_logger(struct reading *r, struct text name);
void reading_skip_signs(struct reading *r);
void reading_decide_names(struct reading *r);

/* "com.example.Shop", "my_app::db": two parts at least, and no file's name. */
bool is_qualified(struct text t);

/* "main.go:6", "src/db.rs:26:4", "a.c:12:f": the length of such a place in a source; 0: none. */
size_t place_length(struct text t);

/* The length of a word of letters and digits that begins with a letter; 0: none. */
size_t word_length(struct text t);
bool is_upper_text(struct text t);
bool is_lower_text(struct text t);

/* log_pieces.c: times, hosts and processes, places in the source */
bool take_program(struct reading *r);
bool take_header_5424(struct reading *r);
bool take_epoch(struct reading *r);
bool take_time(struct reading *r);
bool take_process(struct reading *r);
bool take_caller(struct reading *r);
bool take_number(struct reading *r);

/* log_pieces_level.c: levels, and what only stands with one */
bool take_component(struct reading *r);
bool take_gstreamer(struct reading *r);
bool take_known_program(struct reading *r);
bool take_category(struct reading *r);
bool take_level(struct reading *r);
bool take_letter(struct reading *r);
bool take_priority(struct reading *r);
bool take_sign(struct reading *r);
bool take_colons(struct reading *r);
bool take_report(struct reading *r);

/* log_group.c */
bool take_group(struct reading *r);

/* log_ahead.c */
bool take_ahead(struct reading *r);
bool take_cisco(struct reading *r);

/* log_names.c */
enum name_rank rank_of(const struct reading *r, struct text t, char bracket);
bool take_span(struct reading *r);
bool take_weblogic(struct reading *r);
void find_last_name(struct reading *r);
bool take_channel_and_level(struct reading *r);
bool take_name_and_level(struct reading *r);
bool take_logger(struct reading *r);
bool take_python_name(struct reading *r);

#endif
