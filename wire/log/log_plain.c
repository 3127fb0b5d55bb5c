#include "log_plain.h"

#include <stdint.h>
#include <string.h>

static bool is_control(char c)
{
	return ((unsigned char)c < ' ' && c != '\t' && c != '\n') || c == 0x7f;
}

/* Eight bytes at a time: has one of them a value below 0x20, or 0x7f? */
static bool may_have_control(uint64_t w)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
	uint64_t delete = w ^ ones * 0x7f;

	return (((w - ones * 0x20) & ~w) | ((delete - ones) & ~delete)) & high;
}

static bool has_control(struct text t)
{
	size_t i = 0;
	uint64_t w;

	for (; i + sizeof w <= t.len; i += sizeof w) {
		memcpy(&w, t.s + i, sizeof w);
		if (!may_have_control(w))
			continue;
		for (size_t k = i; k < i + sizeof w; k++)
			if (is_control(t.s[k]))
				return true;
	}
	for (; i < t.len; i++)
		if (is_control(t.s[i]))
			return true;
	return false;
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
