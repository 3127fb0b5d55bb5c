#include "links.h"

#include <strings.h>

#include "assets.h"

/* What lives in a page's address. Everything else is dropped from links. */
static const char *const kept_params[] = { "q",  "state", "sort",   "view",    "range", "from",
					   "to", "show",  "counts", "columns", "wrap",
					   "environment", "team", "tag", "group", "label" };

bool link_url(const void *ctx, struct text in, struct buf *out)
{
	(void)ctx;
	return http_encode(out, in);
}

/* What a link changes of the page's address. */
struct changes {
	struct text pairs;              /* k=v&k2=v2; no value: without k */
	bool single;                    /* one pair, whose value may hold an '&' */
	const struct text *q;           /* the new query; NULL: as it is */
};

/* The value that the changes give to `name`; false when they do not name it. */
static bool changed(const struct changes *c, const char *name, struct text *ret)
{
	struct text pairs = c->pairs;

	while (pairs.len) {
		const char *end = c->single ? NULL : memchr(pairs.s, '&', pairs.len);
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
static bool replaced(const struct changes *c, const char *name)
{
	struct text v;

	if (strcmp(name, "range") == 0)
		return changed(c, "from", &v);
	return (strcmp(name, "from") == 0 || strcmp(name, "to") == 0) && changed(c, "range", &v);
}

static bool with_changes(const struct request *r, const struct changes *c, struct buf *out)
{
	static const char *const extra[] = { "before", "after", "page", "format", "rows" };
	size_t n = sizeof kept_params / sizeof kept_params[0], mark = out->len;
	bool first = true, ok = true;

	for (size_t i = 0; i < n && ok; i++) {
		struct text v = text_of(request_param(r, kept_params[i]));

		if (c->q && strcmp(kept_params[i], "q") == 0)
			v = *c->q;
		if (!changed(c, kept_params[i], &v) && replaced(c, kept_params[i]))
			continue;
		ok = add_pair(out, &first, kept_params[i], v);
	}
	for (size_t i = 0; i < sizeof extra / sizeof extra[0] && ok; i++) {
		struct text v;

		if (changed(c, extra[i], &v))
			ok = add_pair(out, &first, extra[i], v);
	}
	return ok && (out->len > mark || buf_addc(out, '?'));
}

bool link_with(const void *ctx, struct text in, struct buf *out)
{
	return with_changes(ctx, &(struct changes){ .pairs = in }, out);
}

bool link_set(const void *ctx, struct text in, struct buf *out)
{
	return with_changes(ctx, &(struct changes){ .pairs = in, .single = true }, out);
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

/* ---- the pieces of a query --------------------------------------------------------------------- */

/* Reads a query's pieces: a word, a field, quoted text or a group, up to the blank behind it. */
struct pieces {
	struct text q;
	size_t i;
	bool term;                      /* within a term: a '(' belongs to it */
	bool in_quotes;                 /* an open quote, */
	int depth;                      /* and groups */
	int inner;                      /* parentheses within a word */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void see_parenthesis(struct pieces *p, char c)
{
	if (c == '(' && !p->term)
		p->depth++;
	else if (c == '(')
		p->inner++;
	else if (p->inner > 0)
		p->inner--;
	else if (p->depth > 0 && p->depth--)
		p->term = false;
}

/* Take the character at i in. */
static void see(struct pieces *p)
{
	char c = p->q.s[p->i], last = p->i ? p->q.s[p->i - 1] : ' ';

	if (p->in_quotes) {
		p->i += c == '\\' && p->i + 1 < p->q.len;
		p->in_quotes = p->term = c != '"';
	} else if (c == '"' && (!p->term || strchr(":=<>.", last))) {
		p->in_quotes = p->term = true;
	} else if (c == '(' || c == ')') {
		see_parenthesis(p, c);
	} else if (is_blank(c)) {
		p->term = false;
		p->inner = 0;
	} else {
		p->term = p->term || c != '-';
	}
}

static bool is_word(struct text piece, const char *word)
{
	return piece.len == strlen(word) && strncasecmp(piece.s, word, piece.len) == 0;
}

static bool is_joint(struct text piece)
{
	return text_eq(piece, TEXT("NOT")) || text_eq(piece, TEXT("AND")) || is_word(piece, "or") ||
	       is_word(piece, "|");
}

static bool next_piece(struct pieces *p, struct text *ret)
{
	size_t start;

	while (p->i < p->q.len && is_blank(p->q.s[p->i]))
		p->i++;
	start = p->i;
	p->term = false;
	p->inner = 0;
	*ret = (struct text){ p->q.s + start, 0 };
	while (p->i < p->q.len && (p->in_quotes || p->depth > 0 || !is_blank(p->q.s[p->i])) &&
	       !(p->q.s[p->i] == '(' && is_joint(*ret))) {
		see(p);
		p->i++;
		ret->len = p->i - start;
	}
	return ret->len > 0;
}

/* How a query must be written so that a term behind it belongs to all of it. */
struct shape {
	bool either;                    /* it has an OR outside parentheses */
	bool in_quotes;                 /* it ends within quotes */
	int depth;                      /* parentheses that it leaves open */
};

static struct shape shape_of(struct text q)
{
	struct pieces p = { .q = q };
	struct shape s = { 0 };
	struct text piece;

	while (next_piece(&p, &piece))
		s.either = s.either || is_word(piece, "or") || is_word(piece, "|");
	s.in_quotes = p.in_quotes;
	s.depth = p.depth;
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

/* ---- a term of the query ------------------------------------------------------------------------- */

/* Does the piece ask for the term, or exclude it? Levels are written in either case. */
static enum link_stand stand_of(struct text piece, struct text term, bool negated)
{
	bool same;

	if (piece.len && piece.s[0] == '-') {
		piece = (struct text){ piece.s + 1, piece.len - 1 };
		negated = !negated;
	}
	same = strncasecmp(term.s, "level", term.len < 5 ? term.len : 5) == 0
		       ? piece.len == term.len && strncasecmp(piece.s, term.s, term.len) == 0
		       : text_eq(piece, term);
	return !same ? LINK_APART : negated ? LINK_EXCLUDED : LINK_WANTED;
}

/* Append a piece, and the AND or NOT that stands before it. */
static bool add_piece(struct buf *out, struct text joint, struct text piece)
{
	bool ok = true;

	if (joint.len && (out->len || !is_word(joint, "and")))
		ok = (!out->len || buf_addc(out, ' ')) && buf_add(out, joint.s, joint.len);
	return ok && (!out->len || buf_addc(out, ' ')) && buf_add(out, piece.s, piece.len);
}

/* Append q without the term, be it asked for or excluded; *ret_stand is what q says of it. A part of an
 * OR stays: it means something else there. */
static bool without_term(struct text q, struct text term, struct buf *out, enum link_stand *ret_stand)
{
	struct pieces p = { .q = q };
	struct text piece, joint = { NULL, 0 };
	bool ok = true;

	*ret_stand = LINK_APART;
	if (shape_of(q).either)
		return buf_add(out, q.s, q.len);
	while (ok && next_piece(&p, &piece)) {
		bool negates = text_eq(piece, TEXT("NOT"));
		enum link_stand stand = stand_of(piece, term, text_eq(joint, TEXT("NOT")));

		if (!joint.len && (negates || text_eq(piece, TEXT("AND")))) {
			joint = piece;
			continue;
		}
		if (stand == LINK_APART)
			ok = add_piece(out, joint, piece);
		else
			*ret_stand = stand;
		joint.len = 0;
	}
	return ok && (!joint.len || add_piece(out, (struct text){ NULL, 0 }, joint));
}

enum link_stand link_stands(const struct request *r, struct text term)
{
	struct buf wanted = BUF(HTTP_QUERY_MAX), rest = BUF(HTTP_QUERY_MAX);
	enum link_stand stand = LINK_APART;

	if (add_term(&wanted, term))
		without_term(text_of(request_param(r, "q")), (struct text){ wanted.data, wanted.len }, &rest,
			     &stand);
	buf_free(&wanted);
	buf_free(&rest);
	return stand;
}

enum change { TERM_AND, TERM_NOT, TERM_DROP };

/* The new q: what it was without the term, and the term (or -term) at its end. */
static bool change_q(const struct request *r, struct text in, enum change change, struct buf *ret)
{
	struct buf term = BUF(HTTP_QUERY_MAX);
	enum link_stand stand;
	bool ok = add_term(&term, in) && without_term(text_of(request_param(r, "q")),
						      (struct text){ term.data, term.len }, ret, &stand);

	while (ok && ret->len && is_blank(ret->data[ret->len - 1]))
		ret->len--;
	if (change != TERM_DROP)
		ok = ok && close_query(ret) && (ret->len == 0 || buf_addc(ret, ' ')) &&
		     (change == TERM_AND || buf_addc(ret, '-')) && buf_add(ret, term.data, term.len);
	buf_free(&term);
	return ok;
}

static bool link_q(const struct request *r, struct text in, enum change change, struct buf *out)
{
	struct buf q = BUF(HTTP_QUERY_MAX * 2);
	bool ok = change_q(r, in, change, &q);
	struct text changed_q = { q.data ? q.data : "", q.len };

	ok = ok && with_changes(r, &(struct changes){ .q = &changed_q }, out);
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
