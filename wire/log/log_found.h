/*
 * log_found.h - what is known of a row while its line is read. Private to log_line.c, log_line_members.c and
 * log_line_text.c.
 *
 * A wrapper says something of a row, what it holds says more: a line is read inside a line.
 */
#ifndef WIRE_LOG_FOUND_H
#define WIRE_LOG_FOUND_H

#include <string.h>

#include "log_line.h"

enum { DEPTH_MAX = 2 };                 /* a line in a line in a line */

struct found {
	enum line_form form;
	bool wrapped, timed, leveled;
	int64_t us;
	enum log_level level;
	struct text logger, message;
	struct text prefix;             /* what stands in front of the message */
	struct text stood;              /* the line, where a prefix and the message are not all of it */
};

/* Read `line`, an object or a text, in which *f was found so far. */
void found_inside(struct line_parser *p, struct text line, int depth, struct found *f);

/* An object's members become columns and context. `line` is the message where no member is one. */
void found_members(struct line_parser *p, struct members *m, struct text line, struct found *f);

/* What is no object. */
void found_text(struct line_parser *p, struct text record, int depth, struct found *f);

static inline struct text first_line(struct text t)
{
	const char *newline = memchr(t.s, '\n', t.len);

	return newline ? (struct text){ t.s, (size_t)(newline - t.s) } : t;
}

/* The prefix reaches up to byte `n` of `text`; what was read around it may have begun it. */
static inline void found_prefix(struct found *f, struct text text, size_t n)
{
	if (!f->prefix.s)
		f->prefix.s = text.s;
	f->prefix.len = (size_t)(text.s + n - f->prefix.s);
}

static inline void found_stood(struct found *f, struct text line)
{
	if (!f->stood.s)
		f->stood = line;
}

/* The text and the prefix in front of it. */
static inline struct text found_with_prefix(const struct found *f, struct text t)
{
	return f->prefix.s ? (struct text){ f->prefix.s, (size_t)(t.s + t.len - f->prefix.s) } : t;
}

#endif
