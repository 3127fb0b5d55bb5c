#include "tzif.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "common/clock.h"

enum { HEADER = 44, DAY_S = 86400, TYPES_MAX = 256, FIRST_YEAR = 1999, LAST_YEAR = 2059 };

#define FIRST_S INT64_C(946598400)      /* 1999-12-31 */
#define LAST_S  INT64_C(2840140800)     /* 2060-01-01: today's rules, for as long as this may run */

/* ---- changes ---- */

static bool same(const struct zone_change *a, const struct zone_change *b)
{
	return a->east_s == b->east_s && strcmp(a->letters, b->letters) == 0;
}

/* Changes come in order. Of those before FIRST_S the last one holds from the beginning. */
static void add_change(struct zone *z, struct zone_change c)
{
	if (c.from_s <= FIRST_S || z->n == 0) {
		c.from_s = INT64_MIN;
		z->change[0] = c;
		z->n = 1;
	} else if (c.from_s < LAST_S && z->n < ZONE_CHANGES_MAX && !same(&z->change[z->n - 1], &c)) {
		z->change[z->n++] = c;
	}
}

/* ---- POSIX's rule ---- */

/* When in a year the clocks change. */
struct day_rule {
	char kind; /* 'M': a weekday of a month, 'J': a day without February 29, '0': with it */
	int month, week, day;
	int32_t at_s;                   /* on the wall before the change */
};

struct rule {
	struct zone_change standard, summer;
	bool has_summer;
	struct day_rule begin, end;     /* of summer */
};

static bool take_number(const char **s, int max, int *ret)
{
	int n = 0;

	if (!isdigit((unsigned char)**s))
		return false;
	for (; isdigit((unsigned char)**s); ++*s) {
		n = 10 * n + (**s - '0');
		if (n > max)
			return false;
	}
	*ret = n;
	return true;
}

/* "CET", "<+0530>". */
static bool take_letters(const char **s, char letters[ZONE_LETTERS_MAX])
{
	const char *begin = *s, *end;

	if (*begin == '<') {
		end = strchr(++begin, '>');
		*s = end ? end + 1 : begin;
	} else {
		for (end = begin; isalpha((unsigned char)*end);)
			end++;
		*s = end;
	}
	if (!end || end == begin)
		return false;
	if (end - begin < ZONE_LETTERS_MAX)
		memcpy(letters, begin, (size_t)(end - begin));
	return true;
}

/* "-5:30", "2", "-1:00:00"; hours up to 167. */
static bool take_time(const char **s, int32_t *ret_s)
{
	int sign = 1, hours, minutes = 0, seconds = 0;

	if (**s == '+' || **s == '-')
		sign = *(*s)++ == '-' ? -1 : 1;
	if (!take_number(s, 167, &hours))
		return false;
	if (**s == ':' && (++*s, !take_number(s, 59, &minutes)))
		return false;
	if (**s == ':' && (++*s, !take_number(s, 59, &seconds)))
		return false;
	*ret_s = sign * (hours * 3600 + minutes * 60 + seconds);
	return true;
}

/* ",M3.5.0/2", ",J60", ",59". */
static bool take_day(const char **s, struct day_rule *r)
{
	*r = (struct day_rule){ .kind = '0', .at_s = 2 * 3600 };
	if (*(*s)++ != ',')
		return false;
	if (**s == 'M') {
		r->kind = *(*s)++;
		if (!take_number(s, 12, &r->month) || r->month < 1 || *(*s)++ != '.' ||
		    !take_number(s, 5, &r->week) || r->week < 1 || *(*s)++ != '.' ||
		    !take_number(s, 6, &r->day))
			return false;
	} else {
		if (**s == 'J')
			r->kind = *(*s)++;
		if (!take_number(s, 365, &r->day) || (r->kind == 'J' && r->day < 1))
			return false;
	}
	return **s != '/' || (++*s, take_time(s, &r->at_s));
}

static bool parse_rule(const char *s, struct rule *r)
{
	static const char american[] = ",M3.2.0,M11.1.0";
	int32_t west_s;

	memset(r, 0, sizeof *r);
	if (!take_letters(&s, r->standard.letters) || !take_time(&s, &west_s))
		return false;
	r->standard.east_s = -west_s;
	if (*s == '\0')
		return true;
	r->has_summer = true;
	r->summer.east_s = r->standard.east_s + 3600;
	if (!take_letters(&s, r->summer.letters))
		return false;
	if (*s != ',' && *s != '\0') {
		if (!take_time(&s, &west_s))
			return false;
		r->summer.east_s = -west_s;
	}
	if (*s == '\0')
		s = american;
	return take_day(&s, &r->begin) && take_day(&s, &r->end) && *s == '\0';
}

/* Seconds since 1970 on the wall. */
static int64_t rule_wall_s(const struct day_rule *r, int year)
{
	int64_t day = days_since_1970(year, 1, 1);

	if (r->kind == 'J') {
		day += r->day - 1 + (is_leap_year(year) && r->day > 59);
	} else if (r->kind == '0') {
		day += r->day;
	} else {
		int length = days_of_month(year, r->month), first, in_month;

		day = days_since_1970(year, r->month, 1);
		first = (int)((day + 4) % 7);           /* 1970-01-01 was a Thursday */
		in_month = (r->day - first + 7) % 7 + 7 * (r->week - 1);
		while (in_month >= length)
			in_month -= 7;
		day += in_month;
	}
	return day * DAY_S + r->at_s;
}

static void add_rule(struct zone *z, const struct rule *r, int64_t after_s)
{
	if (!r->has_summer) {
		struct zone_change c = r->standard;

		c.from_s = after_s == INT64_MIN ? after_s : after_s + 1;
		add_change(z, c);
		return;
	}
	for (int year = FIRST_YEAR; year <= LAST_YEAR; year++) {
		struct zone_change begin = r->summer, end = r->standard, *first = &begin, *second = &end;

		begin.from_s = rule_wall_s(&r->begin, year) - r->standard.east_s;
		end.from_s = rule_wall_s(&r->end, year) - r->summer.east_s;
		if (end.from_s < begin.from_s) {        /* in the south */
			first = &end;
			second = &begin;
		}
		if (first->from_s > after_s)
			add_change(z, *first);
		if (second->from_s > after_s)
			add_change(z, *second);
	}
}

bool tzif_rule(struct zone *z, const char *text)
{
	struct rule r;

	if (!parse_rule(text, &r))
		return false;
	z->n = 0;
	add_rule(z, &r, INT64_MIN);
	return true;
}

/* ---- the file ---- */

static uint32_t be32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const unsigned char *p)
{
	return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

/* One of the two blocks of data: how many of what it has, and where these begin. */
struct block {
	size_t times, types, letters;                   /* numbers of them */
	size_t width;                                   /* bytes of a time */
	const unsigned char *time, *index, *type, *letter, *end;
};

static bool find_block(const unsigned char *p, const unsigned char *end, size_t width, struct block *b)
{
	size_t utc, standard, leaps;

	if (end - p < HEADER || memcmp(p, "TZif", 4) != 0)
		return false;
	utc = be32(p + 20);
	standard = be32(p + 24);
	leaps = be32(p + 28);
	*b = (struct block){
		.times = be32(p + 32), .types = be32(p + 36), .letters = be32(p + 40), .width = width
	};
	if (b->times > TZIF_BYTES_MAX || b->types > TYPES_MAX || b->types == 0 ||
	    b->letters > TZIF_BYTES_MAX || utc > TYPES_MAX || standard > TYPES_MAX || leaps > TZIF_BYTES_MAX)
		return false;
	if ((size_t)(end - p) < HEADER + b->times * (width + 1) + b->types * 6 + b->letters +
					leaps * (width + 4) + standard + utc)
		return false;
	b->time = p + HEADER;
	b->index = b->time + b->times * width;
	b->type = b->index + b->times;
	b->letter = b->type + b->types * 6;
	b->end = b->letter + b->letters + leaps * (width + 4) + standard + utc;
	return true;
}

static bool change_of(const struct block *b, size_t type, int64_t from_s, struct zone_change *ret)
{
	const unsigned char *p = b->type + 6 * type, *letters, *end;

	if (type >= b->types || p[5] >= b->letters)
		return false;
	*ret = (struct zone_change){ .from_s = from_s, .east_s = (int32_t)be32(p) };
	letters = b->letter + p[5];
	end = memchr(letters, '\0', b->letters - p[5]);
	if (!end || ret->east_s <= -DAY_S || ret->east_s >= DAY_S)
		return false;
	if (end - letters < ZONE_LETTERS_MAX)
		memcpy(ret->letters, letters, (size_t)(end - letters));
	return true;
}

/* "\nCET-1CEST,M3.5.0,M10.5.0/3\n" behind the second block. */
static bool add_footer(struct zone *z, const unsigned char *p, const unsigned char *end, int64_t after_s)
{
	const unsigned char *newline =
		end - p > 1 && *p == '\n' ? memchr(p + 1, '\n', (size_t)(end - p) - 1) : NULL;
	char text[128] = "";
	struct rule r;

	if (!newline || (size_t)(newline - p) > sizeof text)
		return false;
	memcpy(text, p + 1, (size_t)(newline - p) - 1);
	if (text[0] == '\0')
		return true;            /* no rule is known */
	if (!parse_rule(text, &r))
		return false;
	add_rule(z, &r, after_s);
	return true;
}

bool tzif_read(struct zone *z, const unsigned char *bytes, size_t len)
{
	const unsigned char *end = bytes + len;
	struct zone_change c;
	int64_t last_s = INT64_MIN;
	struct block b;

	z->n = 0;
	if (len > TZIF_BYTES_MAX || !find_block(bytes, end, 4, &b))
		return false;
	if (bytes[4] >= '2' && !find_block(b.end, end, 8, &b))
		return false;
	if (!change_of(&b, 0, INT64_MIN, &c))
		return false;
	add_change(z, c);
	for (size_t i = 0; i < b.times; i++) {
		int64_t from_s = b.width == 8 ? be64(b.time + 8 * i) : (int32_t)be32(b.time + 4 * i);

		if ((i > 0 && from_s <= last_s) || !change_of(&b, b.index[i], from_s, &c))
			return false;
		add_change(z, c);
		last_s = from_s;
	}
	return b.width == 4 || add_footer(z, b.end, end, last_s);
}
