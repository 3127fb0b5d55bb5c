/*
 * format.h - format the parts of a line of JSON, for loggers without JSON; for C and C++.
 */
#ifndef BENCH_LOG_FORMAT_H
#define BENCH_LOG_FORMAT_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { STAMP_LEN = sizeof "2026-11-21T02:39:14.123456Z" - 1 };

static inline char *put(char *p, const char *s, size_t n)
{
	memcpy(p, s, n);
	return p + n;
}

#define LITERAL(p, s) put(p, s, sizeof(s) - 1)

static inline char *put_two(char *p, unsigned v)
{
	static const char digits[] = "0001020304050607080910111213141516171819"
				     "2021222324252627282930313233343536373839"
				     "4041424344454647484950515253545556575859"
				     "6061626364656667686970717273747576777879"
				     "8081828384858687888990919293949596979899";

	return put(p, digits + 2 * v, 2);
}

static inline char *put_number(char *p, unsigned v)
{
	char room[10];
	size_t i = sizeof room;

	for (; v >= 100; v /= 100)
		put_two(room + (i -= 2), v % 100);
	if (v >= 10)
		put_two(room + (i -= 2), v);
	else
		room[--i] = (char)('0' + v);
	return put(p, room + i, sizeof room - i);
}

/* Whether one of eight bytes is a control character, a quote or a backslash. A byte below x shows as a borrow
 * into its high bit; the bytes of UTF-8 that have that bit already do not count. */
static inline int needs_escape(uint64_t w)
{
	static const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t quote = w ^ ones * '"', backslash = w ^ ones * '\\';

	return (((w - ones * 0x20) | (quote - ones) | (backslash - ones)) & ~w & ones << 7) != 0;
}

static inline char *put_escaped(char *p, unsigned char c)
{
	if (c >= 0x20) {
		*p++ = '\\';
		*p++ = (char)c;
		return p;
	}
	p = LITERAL(p, "\\u00");
	*p++ = (char)('0' + (c >> 4));
	*p++ = "0123456789abcdef"[c & 15];
	return p;
}

/* The inside of a JSON string, of valid UTF-8: up to 6 bytes of each. */
static inline char *put_text(char *p, const char *s, size_t n)
{
	uint64_t w;

	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)s[i];

		if (n - i >= sizeof w && (memcpy(&w, s + i, sizeof w), !needs_escape(w))) {
			p = put(p, s + i, sizeof w);
			i += sizeof w;
			continue;
		}
		if (c >= 0x20 && c != '"' && c != '\\')
			*p++ = (char)c;
		else
			p = put_escaped(p, c);
		i++;
	}
	return p;
}

/* The time now, UTC, with microseconds; a thread keeps the text of its second. */
static inline char *put_stamp(char *p)
{
	static __thread struct {
		time_t second;
		char text[32];
	} last;
	struct timespec t;
	unsigned us;

	clock_gettime(CLOCK_REALTIME, &t);
	if (t.tv_sec != last.second) {
		struct tm tm;

		gmtime_r(&t.tv_sec, &tm);
		strftime(last.text, sizeof last.text, "%Y-%m-%dT%H:%M:%S.", &tm);
		last.second = t.tv_sec;
	}
	us = (unsigned)(t.tv_nsec / 1000);
	p = put(p, last.text, STAMP_LEN - 7);
	p = put_two(p, us / 10000);
	p = put_two(p, us / 100 % 100);
	p = put_two(p, us % 100);
	*p++ = 'Z';
	return p;
}

#endif
