/*
 * random_text.h - random numbers and bytes that are the same on every machine, and the text that
 * a reader should find for the bytes. For tests.
 */
#ifndef OBSERV_TEST_RANDOM_TEXT_H
#define OBSERV_TEST_RANDOM_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/utf8.h"

/* xorshift64*. Set it, to anything but 0, before the first number. */
static uint64_t random_state;
static inline uint64_t random64(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * UINT64_C(2685821657736338717);
}

/* By common/utf8, which is not logcore's validator. `to` has space for three times len. */
static inline size_t repaired(char *out, const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len;) {
		size_t seq = s[i] > 0 ? 1 : s[i] ? utf8_sequence(s + i, len - i) : 0;

		memcpy(out + n, seq ? s + i : UTF8_REPLACEMENT, seq ? seq : UTF8_REPLACEMENT_LEN);
		n += seq ? seq : UTF8_REPLACEMENT_LEN;
		i += seq ? seq : 1;
	}
	return n;
}

#endif
