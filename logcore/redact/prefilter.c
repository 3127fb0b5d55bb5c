#include "prefilter.h"

#include <stdint.h>
#include <string.h>

enum {
	DIGITS = 12,                    /* of a card number, without the last, which a step may miss */
	LOOK_MAX = 2000                 /* a longer text passes without a look */
};

/* Sixteen bytes at once where the machine can, in pieces where it cannot. */
typedef unsigned char bytes16 __attribute__((vector_size(16)));

static inline bytes16 load(const char *s)
{
	bytes16 v;

	memcpy(&v, s, sizeof v);
	return v;
}

/* What was seen in a text. */
struct seen {
	bytes16 marks;                  /* bytes that suffice alone */
	bytes16 at, slash;              /* a URL with a password has both */
	bytes16 quote, colon;           /* a member of a JSON object has both */
	bytes16 digits;                 /* counts of 0x30 to 0x3f: the digits and their neighbours */
};

/*
 * These suffice: =, the first byte of the pairs be and ba (in any case), IA, IV, and any
 * byte before a J. `next` has the following byte for each byte of v.
 */
static inline void look(struct seen *seen, bytes16 v, bytes16 next)
{
	bytes16 scheme = (bytes16)((v & 0xdf) == 'B') & (bytes16)((next | 0x24) == 'e');
	bytes16 upper = (bytes16)(v == 'I') & ((bytes16)(next == 'A') | (bytes16)(next == 'V'));

	seen->marks |= (bytes16)(v == '=') | (bytes16)(next == 'J') | scheme | upper;
	seen->at |= (bytes16)(v == '@');
	seen->slash |= (bytes16)(v == '/');
	seen->quote |= (bytes16)(v == '"');
	seen->colon |= (bytes16)(v == ':');
	seen->digits -= (bytes16)((v & 0xf0) == '0');
}

static inline bool any(bytes16 v)
{
	uint64_t w[2];

	memcpy(w, &v, sizeof w);
	return w[0] | w[1];
}

static inline bool is_enough(const struct seen *seen)
{
	const uint64_t odd = UINT64_C(0x00ff00ff00ff00ff);
	uint64_t w[2], sum;

	/* Most texts have none of these: one test instead of five. */
	if (any(seen->marks | seen->slash | seen->quote) &&
	    (any(seen->marks) || (any(seen->at) && any(seen->slash)) ||
	     (any(seen->quote) && any(seen->colon))))
		return true;
	/* No lane is above 126, so the first addition cannot overflow. */
	memcpy(w, &seen->digits, sizeof w);
	sum = w[0] + w[1];
	sum = (sum & odd) + (sum >> 8 & odd);
	return (sum * UINT64_C(0x0001000100010001)) >> 48 >= DIGITS;
}

/* Up to sixteen bytes as their first and last eight, which may overlap. */
static bool prefilter_short(const char *s, size_t len)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	struct seen seen = { 0 };
	uint64_t both[2], behind[2];
	bytes16 v, next;

	memcpy(&both[0], s, sizeof *both);
	memcpy(&both[1], s + len - sizeof *both, sizeof *both);
	behind[0] = both[0] >> 8 | both[1] << 56;
	behind[1] = both[1] >> 8;
	memcpy(&v, both, sizeof v);
	memcpy(&next, behind, sizeof next);
	look(&seen, v, next);
	return is_enough(&seen);
#else
	(void)s, (void)len;
	return true;
#endif
}

_Static_assert(LOOK_MAX / 16 + 1 <= 126, "a lane counts to 126");

bool logcore_prefilter(const char *s, size_t len)
{
	enum { STEP = sizeof(bytes16) };
	struct seen seen = { 0 };

	if (len <= STEP)
		return prefilter_short(s, len);
	if (len > LOOK_MAX)
		return true;
	for (size_t i = 0; i + STEP + 1 < len; i += STEP)
		look(&seen, load(s + i), load(s + i + 1));
	look(&seen, load(s + len - STEP - 1), load(s + len - STEP));
	return is_enough(&seen);
}
