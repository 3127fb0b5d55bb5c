#include "near.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
	LENGTH_MAX = 32,
	SLIP_MAX = 2,           /* wrong letters */
	OVERLAP = SLIP_MAX + 1, /* the distance of a word that only begins or ends with the other */
	NONE,
};

/* Levenshtein's distance: insertions, deletions and replacements of a character. */
static size_t distance(struct text a, struct text b)
{
	size_t row[LENGTH_MAX + 1];

	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 0; i < a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < b.len; j++) {
			size_t best =
				diagonal + (tolower((unsigned char)a.s[i]) != tolower((unsigned char)b.s[j]));

			diagonal = row[j + 1];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (diagonal + 1 < best)
				best = diagonal + 1;
			row[j + 1] = best;
		}
	}
	return row[b.len];
}

/* Do they differ in two neighbours that changed places ("statsu")? */
static bool swapped(struct text a, struct text b)
{
	size_t i = 0;

	while (i < a.len && i < b.len && a.s[i] == b.s[i])
		i++;
	return a.len == b.len && i + 1 < a.len && a.s[i] == b.s[i + 1] && a.s[i + 1] == b.s[i] &&
	       memcmp(a.s + i + 2, b.s + i + 2, a.len - i - 2) == 0;
}

/* Is one name the start or the end of the other ("interval", "log_file")? */
static bool overlaps(struct text a, struct text b)
{
	struct text small = a.len < b.len ? a : b, big = a.len < b.len ? b : a;

	return small.len >= 3 && (memcmp(big.s, small.s, small.len) == 0 ||
				  memcmp(big.s + big.len - small.len, small.s, small.len) == 0);
}

struct near near_to(struct text wrong)
{
	return (struct near){ wrong, NULL, NONE };
}

void near_try(struct near *n, const char *word)
{
	struct text known = text_of(word);
	size_t d = NONE;

	if (n->wrong.len > LENGTH_MAX || known.len > LENGTH_MAX)
		return;
	d = swapped(n->wrong, known) ? 1 : distance(n->wrong, known);
	if (d > SLIP_MAX || d * 2 >= n->wrong.len)
		d = overlaps(n->wrong, known) ? OVERLAP : NONE;
	if (d < n->distance) {
		n->distance = d;
		n->word = word;
	}
}

const char *near_hint(const struct near *n, const char *front, char out[NEAR_HINT_SIZE])
{
	*out = '\0';
	if (n->word)
		snprintf(out, NEAR_HINT_SIZE, " (did you mean %s%s?)", front, n->word);
	return out;
}
