#include "format.h"

#include <math.h>

#include "common/parse.h"
#include "assets.h"

/* What lives in a page's address. Everything else is dropped from links. */
static const char *const kept_params[] = { "q", "state", "sort", "range", "from", "to", "show" };

/* A path's numbers: a line of the database's 500 points, twice over. */
enum { POINTS_MAX = 2048 };

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

/* ---- addresses ---------------------------------------------------------------------------------- */

static bool format_url(const void *ctx, struct text in, struct buf *out)
{
	(void)ctx;
	return http_encode(out, in);
}

/* The value that the pairs "k=v&k2=v2" give to `name`; false when they do not name it. */
static bool changed(struct text pairs, const char *name, struct text *ret)
{
	while (pairs.len) {
		const char *end = memchr(pairs.s, '&', pairs.len);
		struct text pair = { pairs.s, end ? (size_t)(end - pairs.s) : pairs.len };
		const char *eq = memchr(pair.s, '=', pair.len);
		size_t n = eq ? (size_t)(eq - pair.s) : pair.len;

		if (text_eq((struct text){ pair.s, n }, text_of(name))) {
			*ret = eq ? (struct text){ eq + 1, pair.len - n - 1 } : (struct text){ "", 0 };
			return true;
		}
		pairs.s += pair.len + (end ? 1 : 0);
		pairs.len -= pair.len + (end ? 1 : 0);
	}
	return false;
}

static bool add_pair(struct buf *out, bool *first, const char *name, struct text value)
{
	bool ok;

	if (value.len == 0)
		return true;
	ok = buf_addc(out, *first ? '?' : '&') && buf_adds(out, name) && buf_addc(out, '=') &&
	     http_encode(out, value);
	*first = false;
	return ok;
}

/* A chosen preset and a chosen pair of times exclude each other. */
static bool replaced(struct text pairs, const char *name)
{
	struct text v;

	if (strcmp(name, "range") == 0)
		return changed(pairs, "from", &v);
	return (strcmp(name, "from") == 0 || strcmp(name, "to") == 0) && changed(pairs, "range", &v);
}

static bool link_with(const struct request *r, struct text pairs, const struct text *q, struct buf *out)
{
	static const char *const extra[] = { "before", "after", "format" };
	size_t n = sizeof kept_params / sizeof kept_params[0], mark = out->len;
	bool first = true, ok = true;

	for (size_t i = 0; i < n && ok; i++) {
		struct text v = text_of(request_param(r, kept_params[i]));

		if (q && strcmp(kept_params[i], "q") == 0)
			v = *q;
		if (!changed(pairs, kept_params[i], &v) && replaced(pairs, kept_params[i]))
			continue;
		ok = add_pair(out, &first, kept_params[i], v);
	}
	for (size_t i = 0; i < sizeof extra / sizeof extra[0] && ok; i++) {
		struct text v;

		if (changed(pairs, extra[i], &v))
			ok = add_pair(out, &first, extra[i], v);
	}
	return ok && (out->len > mark || buf_addc(out, '?'));
}

static bool format_with(const void *ctx, struct text in, struct buf *out)
{
	return link_with(ctx, in, NULL, out);
}

static bool needs_quotes(struct text v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.s[i] <= ' ' || v.s[i] == '"' || v.s[i] == '\\')
			return true;
	return v.len == 0;
}

/* "field:value" as the search box reads it: a value with blanks is quoted. */
static bool add_term(struct buf *out, struct text term)
{
	const char *op = term.len ? memchr(term.s, strncmp(term.s, "ctx.", 4) == 0 ? '=' : ':', term.len) : NULL;
	size_t name = op ? (size_t)(op - term.s) + 1 : 0;
	struct text value = { term.s + name, term.len - name };
	bool ok = buf_add(out, term.s, name);

	if (!needs_quotes(value))
		return ok && buf_add(out, value.s, value.len);
	ok = ok && buf_addc(out, '"');
	for (size_t i = 0; i < value.len && ok; i++)
		ok = (!strchr("\"\\", value.s[i]) || buf_addc(out, '\\')) && buf_addc(out, value.s[i]);
	return ok && buf_addc(out, '"');
}

/* Where `term` stands in q as a piece of its own; q.len when it does not. */
static size_t find_term(struct text q, struct text term)
{
	for (size_t i = 0; term.len && i + term.len <= q.len; i++)
		if (memcmp(q.s + i, term.s, term.len) == 0 && (i == 0 || q.s[i - 1] == ' ') &&
		    (i + term.len == q.len || q.s[i + term.len] == ' '))
			return i;
	return q.len;
}

enum change { TERM_AND, TERM_NOT, TERM_DROP };

/* The new q: what it was without the term, and the term (or -term) at its end. */
static bool change_q(const struct request *r, struct text in, enum change change, struct buf *ret)
{
	struct text q = text_of(request_param(r, "q")), term;
	struct buf wanted = BUF(HTTP_QUERY_MAX);
	size_t at, end;
	bool ok = add_term(&wanted, in);

	term = (struct text){ wanted.data, wanted.len };
	at = find_term(q, term);
	end = at < q.len ? at + term.len + (at + term.len < q.len) : at;
	ok = ok && buf_add(ret, q.s, at) && buf_add(ret, q.s + end, q.len - end);
	while (ok && ret->len && ret->data[ret->len - 1] == ' ')
		ret->len--;
	if (change != TERM_DROP)
		ok = ok && (ret->len == 0 || buf_addc(ret, ' ')) && (change == TERM_AND || buf_addc(ret, '-')) &&
		     buf_add(ret, term.s, term.len);
	buf_free(&wanted);
	return ok;
}

static bool link_q(const struct request *r, struct text in, enum change change, struct buf *out)
{
	struct buf q = BUF(HTTP_QUERY_MAX * 2);
	bool ok = change_q(r, in, change, &q);
	struct text changed_q = { q.data ? q.data : "", q.len };

	ok = ok && link_with(r, (struct text){ "", 0 }, &changed_q, out);
	buf_free(&q);
	return ok;
}

static bool format_term(const void *ctx, struct text in, struct buf *out)
{
	(void)ctx;
	return add_term(out, in);
}

static bool format_and(const void *ctx, struct text in, struct buf *out)
{
	return link_q(ctx, in, TERM_AND, out);
}

static bool format_not(const void *ctx, struct text in, struct buf *out)
{
	return link_q(ctx, in, TERM_NOT, out);
}

static bool format_drop(const void *ctx, struct text in, struct buf *out)
{
	return link_q(ctx, in, TERM_DROP, out);
}

static bool format_asset(const void *ctx, struct text in, struct buf *out)
{
	const struct asset *a = asset_find(in);
	const struct request *r = ctx;

	return a && buf_addf(out, "%s/static/%s?v=%016llx", r->base, a->name, (unsigned long long)asset_hash(a));
}

/* ---- pictures --------------------------------------------------------------------------------------- */

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

static bool format_line(const void *ctx, struct text in, struct buf *out)
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
static bool add_area(struct buf *out, const struct scale *s, const double *v, size_t n, size_t from, size_t to)
{
	bool ok = true;

	for (size_t i = from; i < to && ok; i++)
		ok = buf_addf(out, "%c%.1f %.1f", i == from ? 'M' : 'L', x_of(s, i, n), y_of(s, v[n + i]));
	for (size_t i = to; i > from && ok; i--)
		ok = buf_addf(out, "L%.1f %.1f", x_of(s, i - 1, n), y_of(s, v[i - 1]));
	return ok && buf_addc(out, 'Z');
}

static bool format_band(const void *ctx, struct text in, struct buf *out)
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

template_formatter *format_find(struct text name)
{
	static const struct { const char *name; template_formatter *f; } table[] = {
		{ "age", format_age },     { "num", format_num },   { "bytes", format_bytes },
		{ "heat", format_heat },   { "url", format_url },   { "with", format_with },
		{ "and", format_and },     { "not", format_not },   { "drop", format_drop },
		{ "asset", format_asset }, { "line", format_line }, { "band", format_band },
		{ "term", format_term },   { "zero", format_zero },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (text_eq(name, text_of(table[i].name)))
			return table[i].f;
	return NULL;
}
