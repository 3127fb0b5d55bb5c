#include "suspect.h"

#include <stdint.h>
#include <string.h>

enum {
	DIGITS = 12,                    /* of a card number, but for its last one, which may not be looked at */
	LOOK_MAX = 2000                 /* bytes that are looked at; a longer text is suspect */
};

/* Sixteen bytes at once where the machine can, in pieces where it cannot. */
typedef unsigned char bytes16 __attribute__((vector_size(16)));

static inline bytes16 load(const char *s)
{
	bytes16 v;

	memcpy(&v, s, sizeof v);
	return v;
}

/*
 * Marks bytes that a shape needs: = @ " and the first one of the pairs be and ba (in any
 * case), IA, IV, and what is before a J; `next` has for each byte the one behind it. Counts
 * digits and what is near them in ASCII.
 */
static inline bytes16 marks(bytes16 v, bytes16 next, bytes16 *digits)
{
	bytes16 scheme = (bytes16)((v & 0xdf) == 'B') & (bytes16)((next | 0x24) == 'e');
	bytes16 upper = (bytes16)(v == 'I') & ((bytes16)(next == 'A') | (bytes16)(next == 'V'));

	*digits -= (bytes16)((v & 0xf0) == '0');
	return (bytes16)(v == '=') | (bytes16)(v == '@') | (bytes16)(v == '"') | (bytes16)(next == 'J') | scheme | upper;
}

static inline bool any(bytes16 marked, bytes16 digits)
{
	const uint64_t odd = UINT64_C(0x00ff00ff00ff00ff);
	uint64_t w[2], sum;

	memcpy(w, &marked, sizeof w);
	if (w[0] | w[1])
		return true;
	/* No lane is above 126, so none flows over in the first addition. */
	memcpy(w, &digits, sizeof w);
	sum = w[0] + w[1];
	sum = (sum & odd) + (sum >> 8 & odd);
	return (sum * UINT64_C(0x0001000100010001)) >> 48 >= DIGITS;
}

/* Up to sixteen bytes as their first and last eight, which may overlap. */
static bool suspect_short(const char *s, size_t len)
{
	uint64_t first, last;
	bytes16 digits = { 0 };

	memcpy(&first, s, sizeof first);
	memcpy(&last, s + len - sizeof last, sizeof last);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	{
		uint64_t both[2] = { first, last }, behind[2] = { first >> 8 | last << 56, last >> 8 };
		bytes16 v, next, marked;

		memcpy(&v, both, sizeof v);
		memcpy(&next, behind, sizeof next);
		marked = marks(v, next, &digits);
		return any(marked, digits);
	}
#else
	return true;
#endif
}

_Static_assert(LOOK_MAX / 16 + 1 <= 126, "a lane counts to 126");

bool logcore_suspect(const char *s, size_t len)
{
	bytes16 marked = { 0 }, digits = { 0 };
	size_t i = 0;

	if (len <= sizeof marked)
		return suspect_short(s, len);
	if (len > LOOK_MAX)
		return true;
	for (; i + sizeof marked < len; i += sizeof marked)
		marked |= marks(load(s + i), load(s + i + 1), &digits);
	i = len - sizeof marked - 1;
	marked |= marks(load(s + i), load(s + i + 1), &digits);
	return any(marked, digits);
}
