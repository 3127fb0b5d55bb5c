#include "parse.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"

enum { NUMBER_MAX = 64 };       /* bytes of the longest number */

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

bool parse_u64(struct text t, uint64_t *ret)
{
	uint64_t v = 0;

	if (t.len == 0)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (!digit(t.s[i]) || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(t.s[i] - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}

bool parse_i64(struct text t, int64_t *ret)
{
	bool negative = t.len > 0 && t.s[0] == '-';
	bool sign = t.len > 0 && (negative || t.s[0] == '+');
	uint64_t v;

	if (!parse_u64((struct text){ t.s + sign, t.len - sign }, &v) ||
	    v > (uint64_t)INT64_MAX + negative)
		return false;
	*ret = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

/* JSON's grammar of numbers: strtod() alone also takes hex, "inf" and spaces. */
static bool json_number(struct text t)
{
	size_t i = t.len > 0 && t.s[0] == '-', from = i;

	while (i < t.len && digit(t.s[i]))
		i++;
	if (i == from)
		return false;
	if (i < t.len && t.s[i] == '.') {
		for (from = ++i; i < t.len && digit(t.s[i]);)
			i++;
		if (i == from)
			return false;
	}
	if (i < t.len && (t.s[i] == 'e' || t.s[i] == 'E')) {
		i++;
		if (i < t.len && (t.s[i] == '+' || t.s[i] == '-'))
			i++;
		for (from = i; i < t.len && digit(t.s[i]);)
			i++;
		if (i == from)
			return false;
	}
	return i == t.len;
}

bool parse_double(struct text t, double *ret)
{
	enum { EXACT_DIGITS = 15 };     /* such integers are exact as double */
	char copy[NUMBER_MAX + 1];
	uint64_t integer;
	double v;

	if (t.len <= EXACT_DIGITS && parse_u64(t, &integer)) {
		*ret = (double)integer;
		return true;
	}
	if (t.len > NUMBER_MAX || !json_number(t))
		return false;
	memcpy(copy, t.s, t.len);
	copy[t.len] = '\0';
	v = strtod(copy, NULL);
	if (!isfinite(v))
		return false;
	*ret = v;
	return true;
}

/* Two digits at s, as a number; -1 when they are not digits. */
static inline int two_digits(const char *s)
{
	return digit(s[0]) && digit(s[1]) ? (s[0] - '0') * 10 + (s[1] - '0') : -1;
}

static inline int four_digits(const char *s)
{
	int high = two_digits(s), low = two_digits(s + 2);

	return high >= 0 && low >= 0 ? high * 100 + low : -1;
}

/* Read ".123456" at *i and move *i behind it. False when a point has no digit. */
static bool fraction(struct text t, size_t *i, int64_t *ret_us)
{
	int64_t us = 0, unit = US_PER_S / 10;
	size_t n = 0;

	if (*i < t.len && (t.s[*i] == '.' || t.s[*i] == ',')) {
		for ((*i)++; *i < t.len && digit(t.s[*i]); (*i)++, n++, unit /= 10)
			us += (t.s[*i] - '0') * unit;
		if (n == 0 || n > 9)
			return false;
	}
	*ret_us = us;
	return true;
}

/* "Z", "+01:00", "+0100", "+01" or nothing, in seconds east of UTC. */
static bool offset(const char *s, size_t len, int *ret_s)
{
	int h, m = 0;

	*ret_s = 0;
	if (len == 0 || (len == 1 && (s[0] == 'Z' || s[0] == 'z')))
		return true;
	if ((s[0] != '+' && s[0] != '-') || len < 3)
		return false;
	h = two_digits(s + 1);
	if (len == 6 && s[3] == ':')
		m = two_digits(s + 4);
	else if (len == 5)
		m = two_digits(s + 3);
	else if (len != 3)
		return false;
	if (h < 0 || h > 23 || m < 0 || m > 59)
		return false;
	*ret_s = (s[0] == '-' ? -1 : 1) * (h * 3600 + m * 60);
	return true;
}

bool parse_rfc3339(struct text t, int64_t *ret_us)
{
	int y, mo, d, h, mi, s, east;
	int64_t us;
	size_t i = 19;

	if (t.len < 19 || t.s[4] != '-' || t.s[7] != '-' || t.s[13] != ':' || t.s[16] != ':' ||
	    (t.s[10] != 'T' && t.s[10] != 't' && t.s[10] != ' '))
		return false;
	y = four_digits(t.s);
	mo = two_digits(t.s + 5);
	d = two_digits(t.s + 8);
	h = two_digits(t.s + 11);
	mi = two_digits(t.s + 14);
	s = two_digits(t.s + 17);
	if (y < 1 || mo < 1 || mo > 12 || d < 1 || d > days_of_month(y, mo) || h < 0 || h > 23 ||
	    mi < 0 || mi > 59 || s < 0 || s > 60)
		return false;
	if (!fraction(t, &i, &us) || !offset(t.s + i, t.len - i, &east))
		return false;
	if (s == 60) {
		s = 59;
		us = US_PER_S - 1;
	}
	*ret_us = days_since_1970(y, mo, d) * US_PER_DAY +
		  (int64_t)(h * 3600 + mi * 60 + s - east) * US_PER_S + us;
	return true;
}

void format_rfc3339(char out[RFC3339_SIZE], int64_t us)
{
	int64_t in_second = us % US_PER_S;
	time_t seconds = (time_t)(us / US_PER_S);
	struct tm tm;

	if (in_second < 0) {
		in_second += US_PER_S;
		seconds--;
	}
	if (!gmtime_r(&seconds, &tm) || tm.tm_year < -1899 || tm.tm_year > 8099) {
		memcpy(out, "0001-01-01T00:00:00.000000Z", RFC3339_SIZE);
		return;
	}
	snprintf(out, RFC3339_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ",
		 (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
		 (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
		 (unsigned)tm.tm_sec % 100, (unsigned)in_second % 1000000);
}

static bool octal3(const char *s, char *ret)
{
	if (s[0] < '0' || s[0] > '3' || s[1] < '0' || s[1] > '7' || s[2] < '0' || s[2] > '7')
		return false;
	*ret = (char)((s[0] - '0') << 6 | (s[1] - '0') << 3 | (s[2] - '0'));
	return true;
}

bool parse_mount_text(struct text t, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < t.len; i++) {
		char c = t.s[i];

		if (c == '\\' && i + 3 < t.len && octal3(t.s + i + 1, &c))
			i += 3;
		if (n + 1 >= size)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return n > 0;
}
