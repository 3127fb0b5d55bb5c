#include "utf8.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static bool continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* The second byte's range depends on the first (RFC 3629, section 4). */
static bool second_fits(unsigned char first, unsigned char second)
{
	switch (first) {
	case 0xe0: return second >= 0xa0 && second <= 0xbf;
	case 0xed: return second >= 0x80 && second <= 0x9f;
	case 0xf0: return second >= 0x90 && second <= 0xbf;
	case 0xf4: return second >= 0x80 && second <= 0x8f;
	default:   return continuation(second);
	}
}

size_t utf8_sequence(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n;

	if (len == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	n = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3
	    : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
	if (n == 0 || len < n || !second_fits(p[0], p[1]))
		return 0;
	for (size_t i = 2; i < n; i++)
		if (!continuation(p[i]))
			return 0;
	return n;
}

size_t utf8_cut(const char *s, size_t len, size_t max)
{
	if (len <= max)
		return len;
	while (max && continuation((unsigned char)s[max]))
		max--;
	return max;
}

size_t utf8_encode(char out[4], uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Are the 8 bytes ASCII and none of them NUL? */
static inline bool plain8(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof w);
	return ((w | (w - UINT64_C(0x0101010101010101))) & UINT64_C(0x8080808080808080)) == 0;
}

/* Are the 32 bytes ASCII and none of them NUL? False decides nothing: look at each. */
static inline bool plain32(const char *p)
{
#ifdef __SSE2__
	__m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + 16));
	__m128i nul = _mm_cmpeq_epi8(_mm_min_epu8(a, b), _mm_setzero_si128());

	return _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), nul)) == 0;
#else
	return plain8(p) && plain8(p + 8) && plain8(p + 16) && plain8(p + 24);
#endif
}

uint32_t utf8_code_point(const char *s, size_t n)
{
	uint32_t c = (unsigned char)s[0];

	if (n > 1)
		c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++)
		c = c << 6 | ((unsigned char)s[i] & 0x3f);
	return c;
}

bool utf8_is_clean(struct text t)
{
	size_t i = 0, n;
	unsigned char c;

	while (i < t.len) {
		if (t.len - i >= 32 && plain32(t.s + i)) {
			i += 32;
			continue;
		}
		if (t.len >= 32 && t.len - i < 32 && plain32(t.s + t.len - 32))
			return true;            /* looks at some bytes twice */
		if (t.len - i >= 8 && plain8(t.s + i)) {
			i += 8;
			continue;
		}
		c = (unsigned char)t.s[i];
		n = c >= 0x80 ? utf8_sequence(t.s + i, t.len - i) : c > 0;
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}
