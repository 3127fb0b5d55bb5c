/*
 * text.h - a borrowed span of bytes.
 *
 * A log may contain NUL, so the span has a length, and `s` is not terminated. {NULL, 0}
 * means "absent", {"", 0} means "empty".
 */
#ifndef OBSERV_TEXT_H
#define OBSERV_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct text {
	const char *s;
	size_t len;
};

/* A span over a string literal. */
#define TEXT(literal) ((struct text){ (literal), sizeof(literal) - 1 })

/* A span over a C string; NULL gives the absent span. */
static inline struct text text_of(const char *s)
{
	return (struct text){ s, s ? strlen(s) : 0 };
}

static inline bool text_eq(struct text a, struct text b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.s, b.s, a.len) == 0);
}

#endif
