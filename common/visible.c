#include "visible.h"

#include <stdbool.h>

#include "utf8.h"

struct span {
	uint32_t first, last;
};

/* Unicode 15: bidirectional controls, format characters, fillers and tags that have no shape. */
static const struct span hidden[] = {
	{ 0x0000, 0x0008 },   { 0x000b, 0x000c }, { 0x000e, 0x001f },   { 0x007f, 0x009f },
	{ 0x00ad, 0x00ad },   { 0x034f, 0x034f }, { 0x061c, 0x061c },   { 0x115f, 0x1160 },
	{ 0x17b4, 0x17b5 },   { 0x180b, 0x180f }, { 0x200b, 0x200b },   { 0x200e, 0x200f },
	{ 0x2028, 0x202e },   { 0x2060, 0x206f }, { 0x3164, 0x3164 },   { 0xfeff, 0xfeff },
	{ 0xffa0, 0xffa0 },   { 0xfff0, 0xfffb }, { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a },
	{ 0xe0000, 0xe0fff },
};

static bool in_spans(uint32_t c)
{
	for (size_t k = 0; k < sizeof hidden / sizeof hidden[0] && hidden[k].first <= c; k++)
		if (c <= hidden[k].last)
			return true;
	return false;
}

static bool beyond_ascii(struct text t, size_t i)
{
	return i < t.len && (t.s[i] & 0x80);
}

/* A joiner stands between two letters of a script that has no ASCII; a variation selector
 * behind such a character, or before the mark that makes a key of a digit. */
static bool out_of_place(struct text t, size_t i, size_t n, uint32_t c)
{
	bool before = i > 0 && beyond_ascii(t, i - 1), after = beyond_ascii(t, i + n);

	if (c == 0x200c || c == 0x200d)
		return !before || !after;
	return c >= 0xfe00 && c <= 0xfe0f && !before && !after;
}

size_t visible_hidden(struct text t, size_t i, uint32_t *ret)
{
	size_t n = utf8_sequence(t.s + i, t.len - i);
	uint32_t c;

	if (n == 0)
		return 0;
	c = utf8_code_point(t.s + i, n);
	if (!in_spans(c) && !out_of_place(t, i, n, c))
		return 0;
	*ret = c;
	return n;
}
