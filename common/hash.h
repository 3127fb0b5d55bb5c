/*
 * hash.h - hash a text to a number that is the same in every run.
 *
 * It spreads work by name and tells texts apart. It is no protection: a person who
 * chooses the text can choose the hash.
 */
#ifndef OBSERV_HASH_H
#define OBSERV_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_START UINT64_C(14695981039346656037)

/* FNV-1a, 64 bits. Chain calls by passing the last result as `h`; begin with HASH_START.
 * Source: Fowler, Noll, Vo. */
static inline uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n)
{
	for (const unsigned char *p = bytes, *end = p + n; p < end; p++)
		h = (h ^ *p) * UINT64_C(1099511628211);
	return h;
}

/* The same with a final mix, so that names which differ in one digit are far apart.
 * Source: the mix is MurmurHash3's. */
static inline uint64_t hash_str(uint64_t h, const char *s)
{
	h = hash_bytes(h, s, strlen(s));
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	return h ^ h >> 33;
}

#endif
