/*
 * near.h - the word that a misspelt one may mean.
 *
 * Near is a word that differs in one or two letters, and in less than half of them; else one that begins or
 * ends with the other ("interval" for "collection_interval", "version" for "--version"). Case does not count.
 */
#ifndef OBSERV_NEAR_H
#define OBSERV_NEAR_H

#include <stddef.h>

#include "common/text.h"

enum { NEAR_HINT_SIZE = 64 };

struct near {
	struct text wrong;
	const char *word; /* the nearest so far; NULL: none is near */
	size_t distance;
};

struct near near_to(struct text wrong);

/* Take `word`, which must stay valid, if it is nearer than those before. */
void near_try(struct near *n, const char *word);

/* Write " (did you mean WORD?)", to be put behind the wrong word; "" if none is near. `front` is put before
 * WORD: the "--" of options. Returns `out`. */
const char *near_hint(const struct near *n, const char *front, char out[NEAR_HINT_SIZE]);

#endif
