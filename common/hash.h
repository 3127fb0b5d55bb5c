/*
 * hash.h - a number that looks random but is the same at every start.
 *
 * For spreading work by a name, not for security: who chooses the name chooses
 * the hash.
 */
#ifndef OBSERV_HASH_H
#define OBSERV_HASH_H

#include <stdint.h>

#define HASH_START UINT64_C(14695981039346656037)

/* FNV-1a with a final mix, so that names which differ in one digit are far
 * apart. Chain calls by passing the last result as `h`; begin with HASH_START.
 * Source: Fowler, Noll, Vo; the mix is MurmurHash3's. */
static inline uint64_t hash_str(uint64_t h, const char *s)
{
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	return h ^ h >> 33;
}

#endif
