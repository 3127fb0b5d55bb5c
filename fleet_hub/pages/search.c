#include "search.h"

#include <stdio.h>
#include <strings.h>

#include "common/utf8.h"

/* One blank-separated piece of the query. */
struct piece {
	bool negated, quoted;
	struct text name, op;           /* of a field; absent for words */
	char value[SEARCH_TERM_LEN + 1];
	size_t len;
	bool cut;
	struct text whole;
};

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* ---- pieces -------------------------------------------------------------------------------- */

/* Append a byte; drop the tail of what is too long, whole characters at a time. */
static void put(struct piece *p, char c)
{
	if (p->cut)
		return;
	if (p->len < SEARCH_TERM_LEN) {
		p->value[p->len++] = c;
		return;
	}
	p->cut = true;
	for (size_t i = 0; i < p->len;) {
		size_t n = utf8_sequence(p->value + i, p->len - i);

		if (n == 0)
			p->len = i;
		i += n;
	}
}

/* "..." with \" and \\ inside; one that is not closed ends with the query. */
static size_t read_quoted(struct piece *p, struct text q, size_t i)
{
	for (i++; i < q.len && q.s[i] != '"'; i++) {
		if (q.s[i] == '\\' && i + 1 < q.len && (q.s[i + 1] == '"' || q.s[i + 1] == '\\'))
			i++;
		put(p, q.s[i]);
	}
	return i < q.len ? i + 1 : i;
}

static bool is_field(struct text name)
{
	static const char *const names[] = { "level", "app", "vps", "server", "host", "logger" };

	if (name.len > 4 && strncasecmp(name.s, "ctx.", 4) == 0)
		return true;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strlen(names[i]) == name.len && strncasecmp(names[i], name.s, name.len) == 0)
			return true;
	return false;
}

/* The field's name and operator at i, if that is what stands there; gives where its
 * value begins. ctx."any key" is not needed: a key may hold anything but blanks, ':', '='. */
static size_t read_field(struct piece *p, struct text q, size_t i)
{
	size_t op = i;

	while (op < q.len && !blank(q.s[op]) && !strchr(":=<>\"", q.s[op]))
		op++;
	struct text name = { q.s + i, op - i };
	if (op == q.len || !strchr(":=<>", q.s[op]) || !is_field(name))
		return i;
	size_t end = op + 1;
	if (end < q.len && q.s[end] == '=' && q.s[op] != '=')
		end++;
	if (end == q.len || blank(q.s[end]))
		return i;
	p->name = name;
	p->op = (struct text){ q.s + op, end - op };
	return end;
}

static size_t read_piece(struct piece *p, struct text q, size_t i)
{
	size_t start = i;

	*p = (struct piece){ 0 };
	if (q.s[i] == '-' && i + 1 < q.len && !blank(q.s[i + 1])) {
		p->negated = true;
		i++;
	}
	i = read_field(p, q, i);
	if (i < q.len && q.s[i] == '"') {
		p->quoted = true;
		i = read_quoted(p, q, i);
	} else {
		for (; i < q.len && !blank(q.s[i]); i++)
			put(p, q.s[i]);
	}
	p->whole = (struct text){ q.s + start, i - start };
	return i;
}

/* ---- what pieces become --------------------------------------------------------------------- */

static void note(struct search *s, const char *what, struct text whole)
{
	enum { NOTED_MAX = 80 };

	if (!s->note[0])
		snprintf(s->note, sizeof s->note, "%.*s %s", (int)utf8_cut(whole.s, whole.len, NOTED_MAX),
			 whole.s, what);
}

/* A word for to_tsquery(): quoted, so that nothing in it is an operator. */
static bool add_word(struct search *s, const struct piece *p, bool either)
{
	bool ok = (s->words.len == 0 || buf_adds(&s->words, either ? " | " : " & ")) &&
		  (!p->negated || buf_addc(&s->words, '!')) && buf_addc(&s->words, '\'');

	for (size_t i = 0; i < p->len && ok; i++) {
		if (p->value[i] == '\'' || p->value[i] == '\\')
			ok = buf_addc(&s->words, p->value[i]);
		ok = ok && buf_addc(&s->words, p->value[i]);
	}
	ok = ok && buf_adds(&s->words, p->quoted ? "'" : "':*");
	if (ok && !p->negated && s->n_terms < SEARCH_TERMS_MAX) {
		struct search_term *t = &s->term[s->n_terms++];

		memcpy(t->s, p->value, p->len);
		t->len = p->len;
		t->prefix = !p->quoted;
	}
	return ok;
}

/* An element of a PostgreSQL array literal. */
static bool add_element(struct buf *list, const struct piece *p)
{
	bool ok;

	list->len--;                            /* the closing brace */
	ok = (list->len == 1 || buf_addc(list, ',')) && buf_addc(list, '"');
	for (size_t i = 0; i < p->len && ok; i++) {
		if (p->value[i] == '"' || p->value[i] == '\\')
			ok = buf_addc(list, '\\');
		ok = ok && buf_addc(list, p->value[i]);
	}
	return ok && buf_adds(list, "\"}");
}

static bool add_context(struct search *s, const struct piece *p)
{
	struct buf *list = p->negated ? &s->context_not : &s->context_only;
	struct text key = { p->name.s + 4, p->name.len - 4 };

	list->len--;                            /* the closing bracket */
	return (list->len == 1 || buf_addc(list, ',')) && buf_adds(list, "{\"key\":") &&
	       buf_add_json(list, key) && buf_adds(list, ",\"value\":") &&
	       buf_add_json(list, (struct text){ p->value, p->len }) && buf_adds(list, "}]");
}

/* The level a word names: by its name, a beginning of it ("warn", "crit"), or a
 * common other name. -1 when it names none. */
static int level_of(const struct piece *p)
{
	static const struct { const char *name; int level; } others[] = {
		{ "FATAL", LEVEL_CRITICAL }, { "ERR", LEVEL_ERROR }, { "NOTICE", LEVEL_INFO },
	};

	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (strlen(others[i].name) == p->len && strncasecmp(others[i].name, p->value, p->len) == 0)
			return others[i].level;
	for (int i = 0; i < LOG_LEVELS && p->len >= 3; i++)
		if (p->len <= strlen(log_level_names[i]) &&
		    strncasecmp(log_level_names[i], p->value, p->len) == 0)
			return i;
	return -1;
}

/* The levels that "OP level" takes in. */
static unsigned level_mask(struct text op, int level)
{
	unsigned at = 1u << level, below = at - 1;

	if (op.s[0] == '>')
		return SEARCH_ANY_LEVEL & ~(op.len == 2 ? below : below | at);
	if (op.s[0] == '<')
		return op.len == 2 ? below | at : below;
	return at;
}

/* level:a level:b means either; with a bound or a '-' both must hold. */
static void add_levels(struct search *s, unsigned *named, const struct piece *p, int level)
{
	unsigned mask = level_mask(p->op, level);

	if (p->negated)
		s->levels &= ~mask;
	else if (p->op.s[0] == '>' || p->op.s[0] == '<')
		s->levels &= mask;
	else
		*named |= mask;
}

static enum search_field field_of(struct text name)
{
	if (strncasecmp(name.s, "app", name.len) == 0)
		return SEARCH_APP;
	return strncasecmp(name.s, "logger", name.len) == 0 ? SEARCH_LOGGER : SEARCH_VPS;
}

static bool add_field(struct search *s, unsigned *named, struct piece *p, bool either)
{
	bool level = p->name.len == 5 && strncasecmp(p->name.s, "level", 5) == 0;
	bool order = p->op.s[0] == '<' || p->op.s[0] == '>';

	if (level && level_of(p) >= 0) {
		add_levels(s, named, p, level_of(p));
		return true;
	}
	if (level || order) {
		note(s, level ? "names no level; searched as words" : "cannot be compared; searched as words",
		     p->whole);
		p->quoted = false;
		return add_word(s, p, either);
	}
	if (strncasecmp(p->name.s, "ctx.", p->name.len < 4 ? p->name.len : 4) == 0 && p->name.len > 4)
		return add_context(s, p);
	return add_element(p->negated ? &s->not[field_of(p->name)] : &s->only[field_of(p->name)], p);
}

static bool is_or(const struct piece *p)
{
	return !p->name.len && !p->quoted && !p->negated &&
	       ((p->len == 2 && strncasecmp(p->value, "or", 2) == 0) ||
		(p->len == 1 && p->value[0] == '|'));
}

static bool read_all(struct search *s, struct text q)
{
	unsigned named = 0;
	bool either = false, ok = true;
	struct piece p;
	int n = 0;

	for (size_t i = 0; i < q.len && ok;) {
		if (blank(q.s[i])) {
			i++;
			continue;
		}
		i = read_piece(&p, q, i);
		if (is_or(&p)) {
			either = true;
			continue;
		}
		if (++n > SEARCH_TERMS_MAX) {
			note(s, "and what follows is more than 32 terms; left out", p.whole);
			break;
		}
		if (p.name.len)
			ok = add_field(s, &named, &p, either);
		else if (p.len)
			ok = add_word(s, &p, either);
		if (p.cut)
			note(s, "is too long; its beginning was searched", p.whole);
		either = false;
	}
	if (named)
		s->levels &= named;
	return ok;
}

static bool terminate(struct search *s)
{
	bool ok = buf_cstr(&s->words) && buf_cstr(&s->context_only) && buf_cstr(&s->context_not);

	for (int i = 0; i < SEARCH_FIELDS; i++)
		ok = ok && buf_cstr(&s->only[i]) && buf_cstr(&s->not[i]);
	return ok;
}

bool search_parse(struct search *s, struct text query)
{
	enum { LIST_MAX = 4 * SEARCH_TEXT_MAX };
	bool ok;

	memset(s, 0, sizeof *s);
	s->levels = SEARCH_ANY_LEVEL;
	s->words = s->context_only = s->context_not = BUF(LIST_MAX * 2);
	ok = buf_adds(&s->context_only, "[]") && buf_adds(&s->context_not, "[]");
	for (int i = 0; i < SEARCH_FIELDS; i++) {
		s->only[i] = s->not[i] = BUF(LIST_MAX);
		ok = ok && buf_adds(&s->only[i], "{}") && buf_adds(&s->not[i], "{}");
	}
	if (query.len > SEARCH_TEXT_MAX) {
		for (query.len = SEARCH_TEXT_MAX; query.len && (query.s[query.len] & 0xc0) == 0x80;)
			query.len--;    /* not in the middle of a character */
		snprintf(s->note, sizeof s->note,
			 "The search is longer than %d bytes; its beginning was searched", SEARCH_TEXT_MAX);
	}
	return ok && read_all(s, query) && terminate(s);
}

void search_free(struct search *s)
{
	buf_free(&s->words);
	buf_free(&s->context_only);
	buf_free(&s->context_not);
	for (int i = 0; i < SEARCH_FIELDS; i++) {
		buf_free(&s->only[i]);
		buf_free(&s->not[i]);
	}
}

/* ---- marking matches ------------------------------------------------------------------------------ */

/* Part of a word as the text search sees it; what is not ASCII counts as a letter. */
static bool in_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80);
}

static size_t word_end(struct text t, size_t i)
{
	while (i < t.len && in_word(t.s[i]))
		i++;
	return i;
}

static size_t word_start(struct text t, size_t i)
{
	while (i < t.len && !in_word(t.s[i]))
		i++;
	return i;
}

/* Do the words of `term` stand in t from i on? Gives where they end. */
static bool term_at(const struct search_term *term, struct text t, size_t i, size_t *ret_end)
{
	struct text w = { term->s, term->len };
	size_t k = word_start(w, 0);

	if (k == w.len)
		return false;
	for (;;) {
		size_t n = word_end(w, k) - k, end = word_end(t, i), next = word_start(w, k + n);
		bool last = next == w.len;

		if (end - i < n || strncasecmp(t.s + i, w.s + k, n) != 0)
			return false;
		if (!term->prefix && end - i != n)
			return false;
		*ret_end = end;
		if (last)
			return true;
		i = word_start(t, end);
		k = next;
	}
}

bool search_find(const struct search *s, struct text t, size_t from, size_t *ret_start, size_t *ret_end)
{
	/* From the start of a word: behind a match that is where `from` stands anyway. */
	for (size_t i = word_start(t, from); i < t.len; i = word_start(t, word_end(t, i)))
		for (size_t k = 0; k < s->n_terms; k++)
			if (term_at(&s->term[k], t, i, ret_end)) {
				*ret_start = i;
				return true;
			}
	return false;
}
