#include "links.h"

#include <strings.h>

#include "assets.h"

/* What lives in a page's address. Everything else is dropped from links. */
static const char *const kept_params[] = { "q",  "state", "sort", "view",  "range",
					   "from", "to", "show", "counts" };

bool link_url(const void *ctx, struct text in, struct buf *out)
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

static bool with_changes(const struct request *r, struct text pairs, const struct text *q, struct buf *out)
{
	static const char *const extra[] = { "before", "after", "page", "format" };
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

bool link_with(const void *ctx, struct text in, struct buf *out)
{
	return with_changes(ctx, in, NULL, out);
}

static bool needs_quotes(struct text v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.s[i] <= ' ' || strchr("\"\\()", v.s[i]))
			return true;
	return v.len == 0 || v.s[0] == '=' || v.s[v.len - 1] == '*';
}

/* Where the value of "field:value", ctx.key=value or ctx."any key"=value begins. */
static size_t value_at(struct text term)
{
	bool context = term.len > 4 && memcmp(term.s, "ctx.", 4) == 0;
	size_t i = context ? 4 : 0;
	const char *op;

	if (context && term.s[i] == '"')
		for (i++; i < term.len && term.s[i] != '"'; i++)
			i += term.s[i] == '\\' && i + 1 < term.len;
	op = i < term.len ? memchr(term.s + i, context ? '=' : ':', term.len - i) : NULL;
	return op ? (size_t)(op - term.s) + 1 : 0;
}

/* "field:value" as the search box reads it: a value that could be read otherwise is quoted. */
static bool add_term(struct buf *out, struct text term)
{
	size_t name = value_at(term);
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

/* How a query has to be written so that a term behind it belongs to all of it. */
struct shape {
	bool either;                    /* it has an OR outside parentheses */
	bool in_quotes;                 /* it ends within quotes */
	int depth;                      /* parentheses that it leaves open */
};

static bool is_or(struct text q, size_t i, size_t end)
{
	return (end - i == 1 && q.s[i] == '|') || (end - i == 2 && strncasecmp(q.s + i, "or", 2) == 0);
}

static struct shape shape_of(struct text q)
{
	struct shape s = { 0 };
	size_t piece = 0;               /* where the word at i began */

	for (size_t i = 0; i < q.len; i++) {
		bool starts = i == piece || strchr(":=<>.-(", q.s[i - 1]);

		if (q.s[i] == '"' && (s.in_quotes || starts))
			s.in_quotes = !s.in_quotes;
		else if (s.in_quotes)
			i += q.s[i] == '\\';
		else if (q.s[i] == '(')
			s.depth++;
		else if (q.s[i] == ')' && s.depth > 0)
			s.depth--;
		else if (q.s[i] == ' ')
			piece = i + 1;
		if (!s.in_quotes && s.depth == 0 && (i + 1 == q.len || q.s[i + 1] == ' '))
			s.either = s.either || is_or(q, piece, i + 1);
	}
	return s;
}

/* Close what is open, and put parentheses around an OR. */
static bool close_query(struct buf *q)
{
	struct shape s = shape_of((struct text){ q->data ? q->data : "", q->len });
	bool ok = !s.in_quotes || buf_addc(q, '"');

	while (s.depth-- > 0 && ok)
		ok = buf_addc(q, ')');
	if (!s.either || !ok || !buf_room(q, 2))
		return ok && !s.either;
	memmove(q->data + 1, q->data, q->len);
	q->data[0] = '(';
	q->len++;
	return buf_addc(q, ')');
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
		ok = ok && close_query(ret) && (ret->len == 0 || buf_addc(ret, ' ')) &&
		     (change == TERM_AND || buf_addc(ret, '-')) && buf_add(ret, term.s, term.len);
	buf_free(&wanted);
	return ok;
}

static bool link_q(const struct request *r, struct text in, enum change change, struct buf *out)
{
	struct buf q = BUF(HTTP_QUERY_MAX * 2);
	bool ok = change_q(r, in, change, &q);
	struct text changed_q = { q.data ? q.data : "", q.len };

	ok = ok && with_changes(r, (struct text){ "", 0 }, &changed_q, out);
	buf_free(&q);
	return ok;
}

bool link_term(const void *ctx, struct text in, struct buf *out)
{
	(void)ctx;
	return add_term(out, in);
}

bool link_and(const void *ctx, struct text in, struct buf *out)
{
	return link_q(ctx, in, TERM_AND, out);
}

bool link_not(const void *ctx, struct text in, struct buf *out)
{
	return link_q(ctx, in, TERM_NOT, out);
}

bool link_drop(const void *ctx, struct text in, struct buf *out)
{
	return link_q(ctx, in, TERM_DROP, out);
}

bool link_to_asset(const void *ctx, struct text in, struct buf *out)
{
	const struct asset *a = asset_find(in);
	const struct request *r = ctx;

	return a &&
	       buf_addf(out, "%s/static/%s?v=%016llx", r->base, a->name, (unsigned long long)asset_hash(a));
}
