/*
 * unescaped.h - copy the part of a text that needs no JSON escapes. Private to the library.
 *
 * Inline, because most logged bytes pass through here, in pieces of a few bytes.
 */
#ifndef LOGCORE_UNESCAPED_H
#define LOGCORE_UNESCAPED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LOGCORE_ONES UINT64_C(0x0101010101010101)
#define LOGCORE_HIGH_BITS UINT64_C(0x8080808080808080)

/* Whether one of eight bytes needs more than copying: a control character, a quote, a
 * backslash, or a byte that is not ASCII. In bytes without their high bit, subtracting x
 * sets the high bit of each byte below x. A borrow may also set it in a higher byte, but
 * the lowest such byte is exact, and the caller only asks whether there is any. */
static inline bool logcore_special(uint64_t w)
{
	uint64_t quote = w ^ LOGCORE_ONES * '"';
	uint64_t backslash = w ^ LOGCORE_ONES * '\\';

	return ((w - LOGCORE_ONES * 0x20) | (quote - LOGCORE_ONES) | (backslash - LOGCORE_ONES) | w) &
	       LOGCORE_HIGH_BITS;
}

static inline bool logcore_is_unescaped(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Sixteen bytes at once where the machine can, in pieces where it cannot. */
typedef unsigned char logcore_bytes16 __attribute__((vector_size(16)));

/* Copy sixteen bytes; returns whether one of them is special. */
static inline bool logcore_copy16(char *to, const char *s)
{
	logcore_bytes16 v, odd;
	uint64_t w[2];

	memcpy(&v, s, sizeof v);
	memcpy(to, &v, sizeof v);
	odd = (logcore_bytes16)(v < 0x20) | (logcore_bytes16)(v > 0x7f) | (logcore_bytes16)(v == '"') |
	      (logcore_bytes16)(v == '\\');
	memcpy(w, &odd, sizeof w);
	return (w[0] | w[1]) != 0;
}

static inline bool logcore_copy8(char *to, const char *s)
{
	uint64_t w;

	memcpy(&w, s, sizeof w);
	memcpy(to, &w, sizeof w);
	return logcore_special(w);
}

static inline bool logcore_copy4_twice(char *to, const char *s, size_t n)
{
	uint32_t first, end;

	memcpy(&first, s, sizeof first);
	memcpy(&end, s + n - sizeof end, sizeof end);
	memcpy(to, &first, sizeof first);
	memcpy(to + n - sizeof end, &end, sizeof end);
	return logcore_special((uint64_t)end << 32 | first);
}

/*
 * Copy bytes up to the first one that needs an escape. Returns how many; the bytes behind
 * them, up to n, have undefined values. Copies sixteen, eight or four bytes at a time; the
 * last piece overlaps bytes that were already copied.
 */
static inline size_t logcore_unescaped(char *to, const char *s, size_t n)
{
	size_t i = 0;
	bool odd = false;

	if (n >= 16) {
		for (; n - i >= 16 && !odd; i += 16)
			odd = logcore_copy16(to + i, s + i);
		if (!odd && (i == n || !logcore_copy16(to + n - 16, s + n - 16)))
			return n;
		i -= 16;
	} else if (n >= 8) {
		if (!logcore_copy8(to, s) && !logcore_copy8(to + n - 8, s + n - 8))
			return n;
	} else if (n >= 4 && !logcore_copy4_twice(to, s, n)) {
		return n;
	}
	while (i < n && logcore_is_unescaped((unsigned char)s[i])) {
		to[i] = s[i];
		i++;
	}
	return i;
}

#endif
