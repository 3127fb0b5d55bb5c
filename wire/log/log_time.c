#include "log_time.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/parse.h"
#include "chars.h"
#include "log_zone.h"

/*
 * In a form a space stands for one or more; every other byte for itself, but:
 *
 *	%Y year  %y its last two digits  %m month  %b its English name, short or long
 *	%d day, one or two digits, a space before one  %a day of the week
 *	%H hour  %I hour of 12  %M minute  %S second  %p AM or PM
 *	%f nothing, or point or comma and a fraction  %z nothing, or a zone  %Z a zone
 *	%D day or month first, told apart by what is possible
 *	~ one or more spaces, a comma before them or not
 */
struct form {
	const char *lead;               /* how a text in this form begins: "/12" with one or two digits and a
					 * slash, "a" with a letter. Rules most forms out at once */
	const char *form, *name, *example;
};

static const struct form forms[] = {
	{ "-4", "%Y-%m-%dT%H:%M:%S%f%z", "RFC 3339, ISO 8601", "2026-11-30T12:00:01.123456+05:30" },
	{ "-4", "%Y-%m-%d %H:%M:%S%f%z", "Python, Java, Ruby, PostgreSQL", "2026-11-30 12:00:01,123 IST" },
	{ "/4", "%Y/%m/%d %H:%M:%S%f%z", "Go, nginx", "2026/11/30 12:00:01" },
	{ "/4", "%Y/%m/%d - %H:%M:%S%f", "Gin", "2026/11/30 - 12:00:01" },
	{ "/12", "%d/%b/%Y:%H:%M:%S%f%z", "common log, HAProxy", "30/Nov/2026:12:07:43 +0530" },
	{ "a", "%b %d %Y %H:%M:%S%f%z", "Cisco, syslog with a year", "Nov 30 2026 12:00:01" },
	{ "a", "%b %d, %Y~%I:%M:%S%f %p%z", "Java, JavaScript en-US", "Nov 30, 2026, 12:00:15 PM" },
	{ "a", "%b %d, %Y~%H:%M:%S%f%z", "long date", "November 30, 2026 12:00:15" },
	{ "a", "%b %d %H:%M:%S%f", "RFC 3164, no year", "Nov 30 12:10:45" },
	{ "a", "%a %Y-%m-%d %H:%M:%S%f%z", "journalctl -o short-full", "Mon 2026-11-30 12:10:45 IST" },
	{ "a", "%a %b %d %H:%M:%S%f %Y", "Apache error log, ctime", "Mon Nov 30 12:07:38.935036 2026" },
	{ "a", "%a %b %d %H:%M:%S%f %Z %Y", "date", "Mon Nov 30 12:07:38 IST 2026" },
	{ "a", "%a %b %d %I:%M:%S %p %Z %Y", "date of 12 hours", "Mon Nov 30 12:07:38 PM IST 2026" },
	{ "a", "%a %b %d %Y %H:%M:%S%f%z", "JavaScript's Date", "Mon Nov 30 2026 12:07:38 GMT+0530" },
	{ "a", "%a~%d %b %Y %H:%M:%S%f%z", "RFC 1123, RFC 5322", "Mon, 30 Nov 2026 06:30:01 GMT" },
	{ "a", "%a %b %d %H:%M:%S%f", "ctime, no year", "Mon Nov 30 12:07:38" },
	{ "-12", "%d-%b-%Y %H:%M:%S%f%z", "Tomcat, PHP, BIND", "30-Nov-2026 12:00:01.123" },
	{ " 12", "%d %b %Y~%H:%M:%S%f%z", "Redis", "30 Nov 2026 12:00:01.123" },
	{ " 12", "%d %b %H:%M:%S%f", "Redis, no year", "30 Nov 12:00:01.123" },
	{ ".4", "%Y.%m.%d %H:%M:%S%f%z", "ClickHouse", "2026.11.30 12:00:01.123456" },
	{ ".4", "%Y.%m.%d-%H.%M.%S%f", "Unreal Engine", "2026.11.30-12.00.01:123" },
	{ "-4", "%Y-%m-%d %H:%M.%S%f%z", "structlog", "2026-11-30 11:55.01" },
	{ "-4", "%Y-%m-%d-%H.%M.%S%f%z", "Db2", "2026-11-30-12.00.01.123456+330" },
	{ "-4", "%Y-%m-%d_%H:%M:%S%f%z", "svlogd", "2026-11-30_12:00:01.12345" },
	{ "-4", "%Y-%m-%d~%I:%M:%S%f %p%z", "JavaScript, en-CA", "2026-11-30, 12:00:01 p.m." },
	{ "-4", "%Y-%m-%d, %H:%M:%S%f%z", "date and time behind a comma", "2026-11-30, 12:00:01" },
	{ "-4", "%Y-%m-%d][%H:%M:%S%f%z", "fern, in two brackets", "2026-11-30][12:00:01" },
	{ "-4", "%Y-%m-%d] [%H:%M:%S%f%z", "in two brackets", "2026-11-30] [12:00:01" },
	{ "-4", "%Y-%m-%d|%H:%M:%S%f%z", "in two columns", "2026-11-30|12:00:01.123" },
	{ "-4", "%Y-%m-%dT%H:%M%z", "ISO 8601 without seconds", "2026-11-30T06:30Z" },
	{ "-4", "%Y-%m-%d %H:%M%z", "without seconds", "2026-11-30 12:00" },
	{ "T78", "%Y%m%dT%H%M%S%f%z", "ISO 8601, basic", "20261130T063001Z" },
	{ " 78", "%Y%m%d %H:%M:%S%f%z", "glog", "20261130 12:00:01.123456" },
	{ "-78", "%Y%m%d-%H:%M:%S%f%z", "FIX, Hadoop", "20261130-12:00:01.123" },
	{ "/12", "%D/%Y~%I:%M:%S%f %p%z", ".NET, SQL Server, JavaScript", "11/30/2026, 12:00:53 PM" },
	{ "/12", "%D/%Y~%H:%M:%S%f%z", "day and month by number", "30/11/2026, 12:00:53" },
	{ "/12", "%D/%Y -- %H:%M:%S%f", "Suricata", "30/11/2026 -- 12:00:53" },
	{ "/12", "%D/%Y-%H:%M:%S%f", "Suricata, Snort", "11/30/2026-12:00:53.123456" },
	{ "-12", "%D-%Y~%H:%M:%S%f%z", "Splunk", "11-30-2026 12:00:53.123 +0530" },
	{ ".12", "%d.%m.%Y~%H:%M:%S%f%z", "German", "30.11.2026, 12:00:53" },
	{ "/12", "%d/%b/%Y %H:%M:%S%f%z", "Django, Werkzeug", "30/Nov/2026 12:00:01" },
	{ "-12", "%d-%b-%Y::%H:%M:%S%f", "Erlang", "30-Nov-2026::12:00:01" },
	{ ":78", "%Y%m%d:%H%M%S%f", "Zabbix, behind its process", "20261130:120001.123" },
	{ "/2", "%y/%m/%d %H:%M:%S%f", "Spark, Hadoop", "26/11/30 12:00:01" },
	{ "-2", "%y-%m-%d %H:%M:%S%f", "Timbre", "26-11-30 12:00:01" },
	{ "/12", "%D/%y~%I:%M:%S%f %p%z", "short, of 12 hours", "11/30/26, 12:00:53 PM" },
	{ "/12", "%D/%y~%H:%M:%S%f%z", "WebSphere", "30/11/26 12:00:00:123 IST" },
	{ " 56", "%y%m%d %H:%M:%S%f", "MySQL 5", "261130 12:00:01" },
	{ " 34", "%m%d %H:%M:%S%f", "klog, glog, behind its letter", "1130 12:00:01.123456" },
	{ "/34", "%m%d/%H%M%S%f", "Chromium", "1130/120001.123456" },
	{ "-2", "%m-%d %H:%M:%S%f", "Android", "11-30 12:00:01.123" },
	{ "-2", "%m-%d|%H:%M:%S%f", "Geth", "11-30|12:00:01.123" },
	{ ":12", "%I:%M%p", "Go's kitchen clock", "12:00PM" },
	{ ":12", "%I:%M:%S%f %p", "time of day of 12 hours", "12:00:01 PM" },
	{ ":2", "%H:%M:%S%f", "time of day: today's, or yesterday's", "12:00:01.123" },
};

enum {
	FORMS = sizeof forms / sizeof *forms,
	TIME_LEN_MAX = 96,              /* with the longest name of a zone */
	ORDER_SLACK_S = 60,             /* lines of several threads are out of order by so much */
};

struct parts {
	int year, month, day, hour, minute, second;     /* -1: not there */
	int64_t us;                                     /* of the second */
	bool pm, am;
	struct log_zone zone;
};

/* ---- pieces ---- */

/* One of `names` of three letters, or the long name that begins with it; its place, -1: none. */
static int name_of(struct text *t, const char *const *names, int count)
{
	size_t n = text_span(*t, is_letter);

	for (int i = 0; n >= 3 && i < count; i++) {
		bool is_long = n == strlen(names[i]), is_short = n == 3 || (n == 4 && t->s[3] == 't');

		if ((is_long || is_short) && strncasecmp(t->s, names[i], is_long ? n : 3) == 0) {
			t->s += n;
			t->len -= n;
			return i;
		}
	}
	return -1;
}

static bool month_name(struct text *t, int *ret)
{
	static const char *const months[] = { "January", "February", "March", "April", "May", "June", "July",
					      "August", "September", "October", "November", "December" };

	*ret = name_of(t, months, 12) + 1;
	return *ret > 0;
}

static bool day_name(struct text *t)
{
	static const char *const days[] = { "Monday", "Tuesday",  "Wednesday", "Thursday",
					    "Friday", "Saturday", "Sunday" };

	return name_of(t, days, 7) >= 0;
}

/* What is below a microsecond is cut. */
static bool fraction(struct text *t, int64_t *ret_us)
{
	int64_t unit = US_PER_S / 10;
	size_t n = 1;

	*ret_us = 0;
	if (t->len < 2 || !strchr(".,:", t->s[0]) || !is_digit(t->s[1]))
		return true;
	for (; n < t->len && is_digit(t->s[n]); n++, unit /= 10)
		*ret_us += (t->s[n] - '0') * unit;
	if (n > 10)
		return false;
	t->s += n;
	t->len -= n;
	return true;
}

/* ---- a form against a text ---- */

static bool half_day(struct text *t, struct parts *p)
{
	bool dotted;

	while (t->len > 0 && t->s[0] == ' ')
		*t = (struct text){ t->s + 1, t->len - 1 };
	if (t->len >= 3 && memcmp(t->s, "\xe2\x80\xaf", 3) == 0) /* a narrow space, as newer Java has it */
		*t = (struct text){ t->s + 3, t->len - 3 };
	dotted = t->len >= 4 && t->s[1] == '.' && t->s[3] == '.';              /* "p.m." */
	if (t->len < 2 || (t->s[dotted ? 2 : 1] | 0x20) != 'm' ||
	    ((t->s[0] | 0x20) != 'a' && (t->s[0] | 0x20) != 'p'))
		return false;
	p->pm = (t->s[0] | 0x20) == 'p';
	p->am = !p->pm;
	*t = text_after(*t, dotted ? 4 : 2);
	return true;
}

/* "11/30" or "30/11"; where both are possible, the month is first. */
static bool day_and_month(struct text *t, struct parts *p)
{
	int a, b;

	if (!text_number(t, 1, 2, &a) || t->len == 0 || (t->s[0] != '/' && t->s[0] != '-'))
		return false;
	*t = (struct text){ t->s + 1, t->len - 1 };
	if (!text_number(t, 1, 2, &b))
		return false;
	p->month = a > 12 ? b : a;
	p->day = a > 12 ? a : b;
	return true;
}

static bool day(struct text *t, int *ret)
{
	if (t->len > 1 && t->s[0] == ' ')
		*t = (struct text){ t->s + 1, t->len - 1 };
	return text_number(t, 1, 2, ret);
}

static bool piece(const struct log_clock *c, char what, struct text *t, struct parts *p)
{
	switch (what) {
	case 'Y': return text_number(t, 4, 4, &p->year);
	case 'y': return text_number(t, 2, 2, &p->year) && (p->year += 2000) > 0;
	case 'm': return text_number(t, 2, 2, &p->month);
	case 'b': return month_name(t, &p->month);
	case 'd': return day(t, &p->day);
	case 'D': return day_and_month(t, p);
	case 'a': return day_name(t);
	case 'H': return text_number(t, 2, 2, &p->hour);
	case 'I': return text_number(t, 1, 2, &p->hour);
	case 'M': return text_number(t, 2, 2, &p->minute);
	case 'S': return text_number(t, 2, 2, &p->second);
	case 'f': return fraction(t, &p->us);
	case 'p': return half_day(t, p);
	case 'z': log_zone_take(c, t, &p->zone); return true;
	case 'Z': return log_zone_take(c, t, &p->zone);
	default: return false;
	}
}

static bool take_space(struct text *t)
{
	size_t n = 0;

	while (n < t->len && t->s[n] == ' ')
		n++;
	*t = (struct text){ t->s + n, t->len - n };
	return n > 0;
}

static bool match(const struct log_clock *c, const char *form, struct text *t, struct parts *p)
{
	*p = (struct parts){ -1, -1, -1, -1, 0, 0, .pm = false };
	for (; *form; form++) {
		if (*form == '~') {
			if (t->len > 1 && t->s[0] == ',')
				*t = text_after(*t, 1);
			if (!take_space(t))
				return false;
		} else if (*form == '%') {
			if (!piece(c, *++form, t, p))
				return false;
		} else if (*form == ' ') {
			if (!take_space(t) && form[1] != '%')
				return false;
			if (form[1] == '%' && form[2] != 'p' && t->s[-1] != ' ')
				return false;
		} else if (t->len == 0 || t->s[0] != *form) {
			return false;
		} else {
			*t = (struct text){ t->s + 1, t->len - 1 };
		}
	}
	return true;
}

/* ---- parts to a time ---- */

static bool possible(const struct parts *p, int year)
{
	if (p->minute > 59 || p->second > 60 || p->hour > 23 ||
	    ((p->am || p->pm) && (p->hour < 1 || p->hour > 12)))
		return false;
	if (p->month < 0)
		return true;
	return p->month >= 1 && p->month <= 12 && p->day >= 1 &&
	       p->day <= days_of_month(year, p->month);
}

static int64_t to_utc(const struct log_clock *c, const struct parts *p, int64_t days)
{
	int hour = p->pm ? p->hour % 12 + 12 : p->am ? p->hour % 12 : p->hour;
	bool leap_second = p->second == 60;
	int64_t wall = days * 86400 + hour * 3600 + p->minute * 60 + (leap_second ? 59 : p->second);
	const struct zone *zone = p->zone.named ? p->zone.named : c->zone;
	int64_t after_s = c->last_us / US_PER_S - ORDER_SLACK_S;
	int64_t utc = p->zone.fixed ? wall - p->zone.east_s : zone ? zone_utc(zone, wall, after_s) : wall;

	return utc * US_PER_S + (leap_second ? US_PER_S - 1 : p->us);
}

static bool in_range(const struct log_clock *c, int64_t us)
{
	return us >= days_since_1970(LOG_TIME_FIRST_YEAR, 1, 1) * US_PER_DAY &&
	       us <= c->now_us + LOG_TIME_FUTURE_DAYS * US_PER_DAY;
}

/* The latest year, or day, that does not put the time more than a day ahead of its arrival. */
static bool complete(const struct log_clock *c, const struct parts *p, int64_t *ret_us)
{
	time_t now_s = (time_t)((c->now_us + US_PER_DAY) / US_PER_S);
	struct tm tm;
	int year;

	if (!gmtime_r(&now_s, &tm))
		return false;
	year = tm.tm_year + 1900;
	if (p->month < 0) {
		int64_t days = now_s / 86400;

		if (!possible(p, year))
			return false;
		/* A time of day is at most an hour ahead: the clocks of two programs differ by less. */
		for (*ret_us = to_utc(c, p, days); *ret_us > c->now_us + 3600 * US_PER_S;)
			*ret_us = to_utc(c, p, --days);
		return true;
	}
	for (int tries = 0; tries < 5; tries++, year--) {
		if (!possible(p, year))
			continue;
		*ret_us = to_utc(c, p, days_since_1970(year, p->month, p->day));
		if (*ret_us <= c->now_us + LOG_TIME_FUTURE_DAYS * US_PER_DAY)
			return true;
	}
	return false;
}

static bool take(const struct log_clock *c, const struct parts *p, int64_t *ret_us)
{
	if (p->year < 0)
		return complete(c, p, ret_us) && in_range(c, *ret_us);
	if (p->year < LOG_TIME_FIRST_YEAR || !possible(p, p->year))
		return false;
	*ret_us = to_utc(c, p, days_since_1970(p->year, p->month, p->day));
	return in_range(c, *ret_us);
}

/* ---- what others call ---- */

/* What goes on behind a time is no time: an address, a version, a word. */
static bool ends_there(struct text rest, bool zoned)
{
	if (rest.len == 0)
		return true;
	if (isalnum((unsigned char)rest.s[0]) || (unsigned char)rest.s[0] >= 0x80)
		return false;
	return !(rest.len > 1 && strchr(".:", rest.s[0]) &&
		 (is_digit(rest.s[1]) || (rest.s[1] == ':' && !zoned)));
}

/* How the text begins, to be compared with the forms' leads. */
struct lead {
	char sign;                      /* behind the digits; 'a': it begins with a letter */
	char digits;                    /* '1' to '9', and '0' for none; '\0': it begins with a letter */
};

#define NAME(a, b, c) ((unsigned)(a) << 16 | (unsigned)(b) << 8 | (unsigned)(c))

/* By the first three letters: most words are no month. */
static bool is_month_or_day(struct text t)
{
	unsigned char a = (unsigned char)t.s[0], b = (unsigned char)t.s[1], c = (unsigned char)t.s[2];

	switch (NAME(a | 0x20, b | 0x20, c | 0x20)) {
	case NAME('j', 'a', 'n'):
	case NAME('f', 'e', 'b'):
	case NAME('m', 'a', 'r'):
	case NAME('a', 'p', 'r'):
	case NAME('m', 'a', 'y'):
	case NAME('j', 'u', 'n'):
	case NAME('j', 'u', 'l'):
	case NAME('a', 'u', 'g'):
	case NAME('s', 'e', 'p'):
	case NAME('o', 'c', 't'):
	case NAME('n', 'o', 'v'):
	case NAME('d', 'e', 'c'):
	case NAME('m', 'o', 'n'):
	case NAME('t', 'u', 'e'):
	case NAME('w', 'e', 'd'):
	case NAME('t', 'h', 'u'):
	case NAME('f', 'r', 'i'): case NAME('s', 'a', 't'): case NAME('s', 'u', 'n'):
		return true;
	default: return false;
	}
}

static struct lead lead_of(struct text t)
{
	size_t n = 0;

	if (is_letter(t.s[0]))
		return is_month_or_day(t) ? (struct lead){ 'a', '\0' } : (struct lead){ '\0', '0' };
	if (t.s[0] == ' ')              /* " 3 Nov" */
		t = text_after(t, 1);
	while (n < t.len && n < 10 && is_digit(t.s[n]))
		n++;
	return (struct lead){ n < t.len ? t.s[n] : '\0', (char)('0' + n) };
}

static inline bool may_be(const char *lead, struct lead l)
{
	if (*lead++ != l.sign)
		return false;
	while (*lead != l.digits && *lead != '\0')
		lead++;
	return *lead == l.digits;
}

static bool try_form(const struct log_clock *c, size_t i, struct text t, struct log_time *ret)
{
	struct text rest = { t.s, t.len < TIME_LEN_MAX ? t.len : TIME_LEN_MAX };
	struct parts p;
	int64_t us;

	if (!match(c, forms[i].form, &rest, &p))
		return false;
	if (!ends_there(rest, p.zone.fixed) || !take(c, &p, &us))
		return false;
	*ret = (struct log_time){ .us = us,
				  .len = (size_t)(rest.s - t.s),
				  .zoned = p.zone.fixed && !p.zone.lettered,
				  .dated = p.month > 0 };
	return true;
}

bool log_time_begins(struct log_clock *c, struct text t, struct log_time *ret)
{
	struct lead l;

	if (t.len < 6)
		return false;
	l = lead_of(t);
	if (l.digits == '0')            /* no digit, and no month's or day's name */
		return false;
	if (may_be(forms[c->likely].lead, l) && try_form(c, c->likely, t, ret))
		return true;
	for (unsigned i = 0; i < FORMS; i++)
		if (i != c->likely && may_be(forms[i].lead, l) && try_form(c, i, t, ret)) {
			c->likely = i;
			return true;
		}
	return false;
}

bool log_time_epoch(const struct log_clock *c, struct text t, int64_t *ret_us)
{
	int64_t us;
	double v;

	if (!parse_double(t, &v) || v <= 0)
		return false;
	us = v < 1e11 ? (int64_t)(v * 1e6) : v < 1e14 ? (int64_t)(v * 1e3)
	   : v < 1e17 ? (int64_t)v : v < 1e20 ? (int64_t)(v / 1e3) : 0;
	if (!in_range(c, us))
		return false;
	*ret_us = us;
	return true;
}

bool log_time_is(struct log_clock *c, struct text t, int64_t *ret_us)
{
	struct log_time found;

	if (log_time_begins(c, t, &found) && found.len == t.len) {
		*ret_us = found.us;
		return true;
	}
	return log_time_epoch(c, t, ret_us);
}

void log_time_print(FILE *out)
{
	fputs("| form | written by |\n|---|---|\n", out);
	for (size_t i = 0; i < FORMS; i++)
		fprintf(out, "| `%s` | %s |\n", forms[i].example, forms[i].name);
}
