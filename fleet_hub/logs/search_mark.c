/* Where the terms of a search stand in a text, to mark them. */
#include <strings.h>

#include "search.h"

/* Part of a word as the index sees it; what is not ASCII counts as a letter. */
static bool in_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80);
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

/* A character of a script without spaces begins here, roughly: U+0E00 and above, but for U+2000 to U+2FFF. */
static bool unspaced(struct text t, size_t i)
{
	unsigned char a = (unsigned char)t.s[i], b = i + 1 < t.len ? (unsigned char)t.s[i + 1] : 0;

	return (a == 0xe0 && b >= 0xb8) || a == 0xe1 || (a >= 0xe3 && a <= 0xed) || a == 0xf0;
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

/* Where a match may begin: at a word, at a part of a camelCase word, at a character of an unspaced script. */
static bool may_begin(struct text t, size_t i)
{
	if (!in_word(t.s[i]))
		return false;
	return i == 0 || !in_word(t.s[i - 1]) || unspaced(t, i) ||
	       (is_upper(t.s[i]) && (!is_upper(t.s[i - 1]) || (i + 1 < t.len && !is_upper(t.s[i + 1]))));
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
		bool last = next == w.len, run = n > 0 && unspaced(w, k);

		if (end - i < n || strncasecmp(t.s + i, w.s + k, n) != 0)
			return false;
		if (!term->prefix && !run && end - i != n)
			return false;
		*ret_end = run ? i + n : end;
		if (last)
			return true;
		i = word_start(t, end);
		k = next;
	}
}

bool search_find(const struct search *s, struct text t, size_t from, size_t *ret_start, size_t *ret_end)
{
	for (size_t i = from; i < t.len; i++)
		for (size_t k = 0; k < s->n_terms && may_begin(t, i); k++)
			if (term_at(&s->term[k], t, i, ret_end)) {
				*ret_start = i;
				return true;
			}
	return false;
}
