#include "times.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/parse.h"

enum {
	TIME_MAX = 64,                  /* bytes of a time, however it is written */
	FUTURE_US = 60 * US_PER_S,      /* how far a time without a date may be ahead: clocks differ */
};

/* What is left to read. */
struct scan {
	struct text rest;
};

/* What was read; years and days that were not said are 0. */
struct when {
	int year, month, day;
	char clock[32];                 /* "06:00:00.25" */
	char zone[16];
};

/* ---- pieces --------------------------------------------------------------------------- */

static bool at_end(const struct scan *s)
{
	return s->rest.len == 0;
}

static bool is_digit(struct scan *s, size_t i)
{
	return i < s->rest.len && s->rest.s[i] >= '0' && s->rest.s[i] <= '9';
}

static void advance(struct scan *s, size_t n)
{
	s->rest.s += n;
	s->rest.len -= n;
}

static bool take(struct scan *s, const char *any_of)
{
	if (at_end(s) || !s->rest.s[0] || !strchr(any_of, s->rest.s[0]))
		return false;
	advance(s, 1);
	return true;
}

/* Exactly n digits. */
static bool take_digits(struct scan *s, size_t n, int *ret)
{
	int v = 0;

	for (size_t i = 0; i < n; i++) {
		if (!is_digit(s, i))
			return false;
		v = v * 10 + (s->rest.s[i] - '0');
	}
	advance(s, n);
	*ret = v;
	return true;
}

static bool take_month_name(struct scan *s, int *ret)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; i < 12 && s->rest.len >= 3; i++)
		if (strncasecmp(s->rest.s, names + 3 * i, 3) == 0) {
			advance(s, 3);
			*ret = i + 1;
			return true;
		}
	return false;
}

/* ---- date, clock, zone ------------------------------------------------------------------ */

/* "2026-11-30", "11-30" or "Nov 30", or nothing before a clock. False when it breaks off. */
static bool take_date(struct scan *s, struct when *w)
{
	if (take_month_name(s, &w->month))
		return take(s, " ") && take_digits(s, 2, &w->day);
	if (s->rest.len > 2 && s->rest.s[2] == ':')
		return true;
	if (s->rest.len > 4 && s->rest.s[4] == '-' && (!take_digits(s, 4, &w->year) || !take(s, "-")))
		return false;
	return take_digits(s, 2, &w->month) && take(s, "-") && take_digits(s, 2, &w->day);
}

/* "06:00", "06:00:01" or "06:00:01.250"; midnight when a date stands alone. */
static bool take_clock(struct scan *s, struct when *w)
{
	int hour, minute, second = 0, n;
	size_t digits = 0;

	if (at_end(s) && w->day) {
		snprintf(w->clock, sizeof w->clock, "00:00:00");
		return true;
	}
	if ((w->day && !take(s, "Tt ")) || !take_digits(s, 2, &hour) || !take(s, ":") ||
	    !take_digits(s, 2, &minute) || (take(s, ":") && !take_digits(s, 2, &second)))
		return false;
	n = snprintf(w->clock, sizeof w->clock, "%02d:%02d:%02d", hour, minute, second);
	if (!take(s, ".,"))
		return true;
	while (is_digit(s, digits))
		digits++;
	if (digits == 0 || digits > 9)
		return false;
	snprintf(w->clock + n, sizeof w->clock - (size_t)n, ".%.*s", (int)digits, s->rest.s);
	advance(s, digits);
	return true;
}

/* "Z", " UTC", "+01:00", "+0100", "+01", or any of these behind a blank that was a '+'. */
static bool take_zone(struct scan *s, struct when *w)
{
	char sign = '+';
	int hour, minute = 0;

	if (at_end(s))
		return true;
	if ((s->rest.len == 1 && take(s, "Zz")) || text_eq(s->rest, TEXT(" UTC")) ||
	    text_eq(s->rest, TEXT("UTC")))
		return true;
	if (s->rest.s[0] == '-')
		sign = '-';
	if (!take(s, "+- ") || !take_digits(s, 2, &hour))
		return false;
	take(s, ":");
	if (!at_end(s) && !take_digits(s, 2, &minute))
		return false;
	snprintf(w->zone, sizeof w->zone, "%c%02d:%02d", sign, hour % 100, minute % 100);
	return at_end(s);
}

/* ---- the whole ---------------------------------------------------------------------------- */

static bool in_full(const struct when *w, int64_t *ret_us)
{
	char text[TIME_MAX];

	snprintf(text, sizeof text, "%04d-%02d-%02dT%s%s", w->year, w->month, w->day, w->clock, w->zone);
	return parse_rfc3339(text_of(text), ret_us);
}

/* Year, and day where there is none, are those of `at_us`. */
static bool filled_in(struct when w, int64_t at_us, int64_t *ret_us)
{
	char at[RFC3339_SIZE];
	struct scan s = { { at, 10 } };
	struct when date = { 0 };

	format_rfc3339(at, at_us);
	if (!take_date(&s, &date))
		return false;
	w.year = date.year;
	if (!w.day) {
		w.month = date.month;
		w.day = date.day;
	}
	return in_full(&w, ret_us);
}

/* The last one before now. 29 February may be eight years away. */
static bool last_of(const struct when *w, int64_t now_us, int64_t *ret_us)
{
	enum { TRIES = 9 };
	int64_t step = (w->day ? 365 : 1) * 86400 * US_PER_S;

	for (int i = 0; i < TRIES; i++)
		if (filled_in(*w, now_us - i * step, ret_us) && *ret_us <= now_us + FUTURE_US)
			return true;
	return false;
}

/* Seconds, milliseconds or microseconds since 1970, told apart by their number of digits. */
static bool read_epoch(struct text t, int64_t *ret_us)
{
	size_t point = 0;
	uint64_t n;
	double seconds;

	while (point < t.len && t.s[point] != '.')
		point++;
	if (point < 9 || point > 17 || !parse_u64((struct text){ t.s, point }, &n))
		return false;
	if (point < t.len) {
		if (point > 11 || !parse_double(t, &seconds))
			return false;
		*ret_us = (int64_t)(seconds * (double)US_PER_S);
		return true;
	}
	*ret_us = (int64_t)n * (point <= 11 ? US_PER_S : point <= 14 ? US_PER_MS : 1);
	return true;
}

bool times_read(struct text t, int64_t now_us, int64_t *ret_us)
{
	struct scan s = { t };
	struct when w = { .zone = "Z" };

	if (t.len > TIME_MAX)
		return false;
	if (read_epoch(t, ret_us))
		return true;
	if (!take_date(&s, &w) || !take_clock(&s, &w) || !take_zone(&s, &w))
		return false;
	return w.year ? in_full(&w, ret_us) : last_of(&w, now_us, ret_us);
}
