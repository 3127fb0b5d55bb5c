/*
 * chars.h - small questions about the bytes of a log line.
 *
 * ASCII only, whatever the locale. Pure functions on spans.
 */
#ifndef WIRE_CHARS_H
#define WIRE_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "common/text.h"

static inline bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static inline bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static inline bool is_letter(char c)
{
	return is_upper((char)(c & ~0x20));
}

static inline bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Letters, digits, underscores. */
static inline bool is_word(char c)
{
	return is_letter(c) || is_digit(c) || c == '_';
}

/* The first byte; NUL of an empty span. */
static inline char text_first(struct text t)
{
	return t.len > 0 ? t.s[0] : '\0';
}

static inline struct text text_after(struct text t, size_t n)
{
	return (struct text){ t.s + n, t.len - n };
}

static inline bool text_begins(struct text t, const char *with)
{
	size_t n = strlen(with);

	return t.len >= n && memcmp(t.s, with, n) == 0;
}

/* Without the blanks at both ends. */
static inline struct text text_trim(struct text t)
{
	while (t.len > 0 && is_blank(t.s[0]))
		t = text_after(t, 1);
	while (t.len > 0 && is_blank(t.s[t.len - 1]))
		t.len--;
	return t;
}

/* How many bytes at the beginning are of a kind. */
static inline size_t text_span(struct text t, bool (*kind)(char c))
{
	size_t n = 0;

	while (n < t.len && kind(t.s[n]))
		n++;
	return n;
}

/* At most `max` digits at the beginning, `min` at least; *t goes behind them. */
static inline bool text_number(struct text *t, int min, int max, int *ret)
{
	int n = 0, v = 0;

	while (n < max && (size_t)n < t->len && is_digit(t->s[n]))
		v = 10 * v + (t->s[n++] - '0');
	if (n < min)
		return false;
	*ret = v;
	t->s += n;
	t->len -= (size_t)n;
	return true;
}

#endif
