#include "format.h"

#include <math.h>

#include "common/clock.h"
#include "common/parse.h"
#include "draw.h"
#include "links.h"

/* ---- numbers for people ------------------------------------------------------------------ */

static bool number(struct text in, double *ret)
{
	return parse_double(in, ret);
}

static bool format_age(const void *ctx, struct text in, struct buf *out)
{
	static const struct { double below, unit; const char *name; } steps[] = {
		{ 60, 1, "s" }, { 3600, 60, "min" }, { 2 * 86400, 3600, "h" }, { HUGE_VAL, 86400, "d" },
	};
	double s;
	size_t i = 0;

	(void)ctx;
	if (!number(in, &s))
		return buf_add(out, in.s, in.len);
	if (s < 0)
		s = 0;
	while (s >= steps[i].below)
		i++;
	return buf_addf(out, "%.0f %s", floor(s / steps[i].unit), steps[i].name);
}

/* Groups of three digits before the point. */
static bool format_num(const void *ctx, struct text in, struct buf *out)
{
	const char *point;
	size_t whole, sign;
	double v;

	(void)ctx;
	if (!number(in, &v) || memchr(in.s, 'e', in.len) || memchr(in.s, 'E', in.len))
		return buf_add(out, in.s, in.len);
	point = memchr(in.s, '.', in.len);
	whole = point ? (size_t)(point - in.s) : in.len;
	sign = in.s[0] == '-';
	for (size_t i = 0; i < in.len; i++) {
		if (i > sign && i < whole && (whole - i) % 3 == 0 && !buf_addc(out, ','))
			return false;
		if (!buf_addc(out, in.s[i]))
			return false;
	}
	return true;
}

static bool format_bytes(const void *ctx, struct text in, struct buf *out)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
	size_t i = 0;
	double v;

	(void)ctx;
	if (!number(in, &v))
		return buf_add(out, in.s, in.len);
	for (; fabs(v) >= 999.5 && i < 5; i++)
		v /= 1000;
	return buf_addf(out, "%.*f %s", i > 0 && fabs(v) < 9.95 ? 1 : 0, v, units[i]);
}

static bool format_heat(const void *ctx, struct text in, struct buf *out)
{
	double v;

	(void)ctx;
	if (!number(in, &v) || v < 80)
		return true;
	return buf_adds(out, v < 90 ? "warm" : "hot");
}

static bool format_zero(const void *ctx, struct text in, struct buf *out)
{
	double v;

	(void)ctx;
	return !number(in, &v) || v > 0 || v < 0 || buf_adds(out, "zero");
}

/* An ending for the number: one line, two lines. */
static bool format_plural(const void *ctx, struct text in, struct buf *out)
{
	(void)ctx;
	return text_eq(in, TEXT("1")) || buf_adds(out, "s");
}

/* ---- times for people ------------------------------------------------------------------------- */

/* The next of the times in the text, as 2026-11-30T06:00:00.000000Z and in microseconds. */
static bool next_time(struct text *in, char shown[RFC3339_SIZE], int64_t *ret_us)
{
	const char *end = in->len ? memchr(in->s, ' ', in->len) : NULL;
	struct text t = { in->s, end ? (size_t)(end - in->s) : in->len };

	in->s += t.len + (end ? 1 : 0);
	in->len -= t.len + (end ? 1 : 0);
	if (!parse_rfc3339(t, ret_us))
		return false;
	format_rfc3339(shown, *ret_us);
	return true;
}

/* As short as the span between two other times allows. */
static bool format_span(const void *ctx, struct text in, struct buf *out)
{
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	const int64_t day_us = 20 * 3600 * US_PER_S;     /* beyond it the day is said */
	char t[RFC3339_SIZE], other[RFC3339_SIZE];
	int64_t us, from, to;
	struct text rest = in;
	int month;

	(void)ctx;
	if (!next_time(&rest, t, &us) || !next_time(&rest, other, &from) || !next_time(&rest, other, &to))
		return buf_add(out, in.s, in.len);
	month = (t[5] - '0') * 10 + (t[6] - '0') - 1;
	if (to - from > day_us && !buf_addf(out, "%s %.2s ", months[month], t + 8))
		return false;
	return buf_add(out, t + 11, 5);
}

static bool format_clock(const void *ctx, struct text in, struct buf *out)
{
	char t[RFC3339_SIZE];
	struct text rest = in;
	int64_t us;

	(void)ctx;
	return next_time(&rest, t, &us) ? buf_add(out, t + 11, 8) : buf_add(out, in.s, in.len);
}

static bool format_day(const void *ctx, struct text in, struct buf *out)
{
	char t[RFC3339_SIZE];
	struct text rest = in;
	int64_t us;

	(void)ctx;
	return next_time(&rest, t, &us) ? buf_addf(out, "%.5s %.5s", t + 5, t + 11)
					: buf_add(out, in.s, in.len);
}

static bool format_date(const void *ctx, struct text in, struct buf *out)
{
	char t[RFC3339_SIZE];
	struct text rest = in;
	int64_t us;

	(void)ctx;
	return next_time(&rest, t, &us) ? buf_addf(out, "%.10s %.5s", t, t + 11)
					: buf_add(out, in.s, in.len);
}

template_formatter *format_find(struct text name)
{
	static const struct {
		const char *name;
		template_formatter *f;
	} table[] = {
		{ "age", format_age },      { "num", format_num },     { "bytes", format_bytes },
		{ "heat", format_heat },    { "zero", format_zero },   { "plural", format_plural },
		{ "span", format_span },    { "clock", format_clock }, { "day", format_day },
		{ "date", format_date },    { "url", link_url },       { "with", link_with },
		{ "set", link_set },        { "and", link_and },       { "not", link_not },
		{ "drop", link_drop },      { "term", link_term },     { "asset", link_to_asset },
		{ "line", draw_line },      { "band", draw_band },     { "bar", draw_bar },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (text_eq(name, text_of(table[i].name)))
			return table[i].f;
	return NULL;
}
