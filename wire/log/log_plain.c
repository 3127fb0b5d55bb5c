#include "log_plain.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static bool is_control(char c)
{
	return ((unsigned char)c < ' ' && c != '\t' && c != '\n') || c == 0x7f;
}

enum { BLOCK = 16 };

#ifdef __SSE2__
static inline bool block_has_control(const char *s)
{
	const __m128i w = _mm_loadu_si128((const __m128i *)(const void *)s);
	const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(w, _mm_set1_epi8(0x1f)), w);
	const __m128i kept = _mm_or_si128(_mm_cmpeq_epi8(w, _mm_set1_epi8('\t')),
					  _mm_cmpeq_epi8(w, _mm_set1_epi8('\n')));

	return _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(kept, low),
					      _mm_cmpeq_epi8(w, _mm_set1_epi8(0x7f)))) != 0;
}
#else
static inline bool block_has_control(const char *s)
{
	bool found = false;

	for (int i = 0; i < BLOCK; i++)
		found |= is_control(s[i]);
	return found;
}
#endif

static bool has_control(struct text t)
{
	size_t i = 0;

	for (; t.len - i >= BLOCK; i += BLOCK)
		if (block_has_control(t.s + i))
			return true;
	if (t.len >= BLOCK)
		return block_has_control(t.s + t.len - BLOCK);          /* looks at some bytes twice */
	while (i < t.len && !is_control(t.s[i]))
		i++;
	return i < t.len;
}

/* The length of an escape sequence at the beginning of `t`: "\e[1;31m", "\e]0;title\a". It is ASCII. */
static size_t escape_sequence(struct text t)
{
	size_t n = 2;

	if (t.len < 2 || t.s[1] < ' ' || t.s[1] == 0x7f)
		return 1;
	if (t.s[1] == '[') {
		while (n < t.len && t.s[n] >= 0x20 && t.s[n] < 0x40)
			n++;
		return n < t.len && t.s[n] >= 0x40 && t.s[n] < 0x7f ? n + 1 : n;
	}
	if (t.s[1] == ']') {
		while (n < t.len && !is_control(t.s[n]) && t.s[n] != '\n')
			n++;
		return n < t.len && t.s[n] == '\a' ? n + 1 : n;
	}
	while (n <= t.len && t.s[n - 1] >= ' ' && t.s[n - 1] < '0')     /* "\e(B": further bytes, then one */
		n++;
	return n <= t.len && t.s[n - 1] >= '0' && t.s[n - 1] < 0x7f ? n : n - 1;
}

/* What is left of `t`, at `to`, which may be its own place. */
static size_t copy_plain(char *to, struct text t)
{
	size_t len = 0;

	for (size_t i = 0, n; i < t.len; i += n) {
		n = 0;
		while (i + n < t.len && !is_control(t.s[i + n]))
			n++;
		memmove(to + len, t.s + i, n);
		len += n;
		if (n == 0)
			n = t.s[i] == '\033' ? escape_sequence((struct text){ t.s + i, t.len - i }) : 1;
	}
	return len;
}

struct text log_plain(struct text t, struct buf *room)
{
	char *to;

	if (!has_control(t))
		return t;
	buf_reset(room);
	to = buf_room(room, t.len);
	if (!to)
		return t;
	room->len = copy_plain(to, t);
	return (struct text){ to, room->len };
}

bool log_plain_in(struct buf *b)
{
	struct text t = { b->data, b->len };

	if (!has_control(t))
		return false;
	b->len = copy_plain(b->data, t);
	return true;
}
