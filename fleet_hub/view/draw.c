#include "draw.h"

#include <math.h>

#include "common/parse.h"

/* A path's numbers: a line of the database's 500 points, twice over. */
enum { POINTS_MAX = 2048 };

struct scale {
	double width, height, lowest, highest;
};

static bool next_number(struct text *in, double *ret)
{
	size_t n = 0;

	while (in->len && strchr(" \n\t,[]", in->s[0])) {
		in->s++;
		in->len--;
	}
	while (n < in->len && !strchr(" \n\t,[]", in->s[n]))
		n++;
	if (n == 0)
		return false;
	if (!parse_double((struct text){ in->s, n }, ret))
		*ret = NAN;
	in->s += n;
	in->len -= n;
	return true;
}

static bool read_scale(struct text *in, struct scale *s)
{
	return next_number(in, &s->width) && next_number(in, &s->height) && next_number(in, &s->lowest) &&
	       next_number(in, &s->highest) && s->highest > s->lowest;
}

static size_t read_values(struct text in, double v[POINTS_MAX])
{
	size_t n = 0;

	while (n < POINTS_MAX && next_number(&in, &v[n]))
		n++;
	return n;
}

static double x_of(const struct scale *s, size_t i, size_t n)
{
	return n > 1 ? s->width * (double)i / (double)(n - 1) : 0;
}

/* One unit of room above and below, so that a line on the edge is whole. */
static double y_of(const struct scale *s, double v)
{
	double part = (v - s->lowest) / (s->highest - s->lowest);

	return 1 + (s->height - 2) * (1 - fmin(fmax(part, 0), 1));
}

bool draw_line(const void *ctx, struct text in, struct buf *out)
{
	double v[POINTS_MAX];
	struct scale s;
	bool ok = true, open = false;
	size_t n;

	(void)ctx;
	if (!read_scale(&in, &s))
		return true;
	n = read_values(in, v);
	for (size_t i = 0; i < n && ok; i++) {
		bool alone = !open && (i + 1 == n || isnan(v[i + 1]));

		if (!isnan(v[i]))
			ok = buf_addf(out, "%c%.1f %.1f%s", open ? 'L' : 'M', x_of(&s, i, n), y_of(&s, v[i]),
				      alone ? "h.1" : "");
		open = !isnan(v[i]);
	}
	return ok;
}

/* There along the upper values, back along the lower ones. */
static bool add_area(struct buf *out, const struct scale *s, const double *v, size_t n, size_t from,
		     size_t to)
{
	bool ok = true;

	for (size_t i = from; i < to && ok; i++)
		ok = buf_addf(out, "%c%.1f %.1f", i == from ? 'M' : 'L', x_of(s, i, n), y_of(s, v[n + i]));
	for (size_t i = to; i > from && ok; i--)
		ok = buf_addf(out, "L%.1f %.1f", x_of(s, i - 1, n), y_of(s, v[i - 1]));
	return ok && buf_addc(out, 'Z');
}

bool draw_band(const void *ctx, struct text in, struct buf *out)
{
	double v[POINTS_MAX];
	struct scale s;
	bool ok = true;
	size_t n, end;

	(void)ctx;
	if (!read_scale(&in, &s))
		return true;
	n = read_values(in, v) / 2;
	for (size_t from = 0; from < n && ok; from = end) {
		while (from < n && (isnan(v[from]) || isnan(v[n + from])))
			from++;
		for (end = from; end < n && !isnan(v[end]) && !isnan(v[n + end]);)
			end++;
		if (end > from)
			ok = add_area(out, &s, v, n, from, end);
	}
	return ok;
}

static bool add_box(struct buf *out, double x, double y, double width, double height)
{
	return buf_addf(out, "M%.1f %.1fh%.1fv%.1fh-%.1fz", x, y, width, height, width);
}

/* The last of the values on top of the others; without values the whole place of the bar. */
bool draw_bar(const void *ctx, struct text in, struct buf *out)
{
	enum { ABOVE = 4, BELOW = 2 };
	const double filled = 0.85;             /* the rest is the gap between two bars */
	double width, height, slots, slot, top, v, low = 0, high = 0;

	(void)ctx;
	if (!next_number(&in, &width) || !next_number(&in, &height) || !next_number(&in, &slots) ||
	    !next_number(&in, &slot) || !(slots >= 1))
		return true;
	width /= slots;
	if (!next_number(&in, &top))
		return add_box(out, slot * width, 0, width, height);
	while (next_number(&in, &v)) {
		low = high;
		high += v;
	}
	if (!(top > 0) || !(high > low))
		return true;
	return add_box(out, slot * width, height - BELOW - (height - ABOVE - BELOW) * high / top,
		       width * filled, (height - ABOVE - BELOW) * (high - low) / top);
}
