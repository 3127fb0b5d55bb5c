#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

enum { FIRST_CAPACITY = 256 };

static bool grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : FIRST_CAPACITY;
	char *data;

	while (cap < need)
		cap = cap > b->max / 2 ? b->max : cap * 2;
	if (cap > b->max)
		cap = b->max;
	data = realloc(b->data, cap);
	if (!data)
		return false;
	b->data = data;
	b->cap = cap;
	return true;
}

char *buf_room(struct buf *b, size_t n)
{
	if (n > b->max || b->len > b->max - n)
		return NULL;
	if ((!b->data || b->len + n > b->cap) && !grow(b, b->len + n))
		return NULL;
	return b->data + b->len;
}

bool buf_add(struct buf *b, const void *bytes, size_t n)
{
	char *to = buf_room(b, n);

	if (!to)
		return false;
	if (n)
		memcpy(to, bytes, n);
	b->len += n;
	return true;
}

bool buf_adds(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

bool buf_addc(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

bool buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	char *to;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return false;
	to = buf_room(b, (size_t)n + 1);
	if (!to)
		return false;
	va_start(ap, fmt);
	vsnprintf(to, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return true;
}

bool buf_add_be32(struct buf *b, uint32_t v)
{
	v = __builtin_bswap32(v);
	return buf_add(b, &v, sizeof v);
}

/* Write the JSON form of one byte below 0x80, return its length. */
static size_t escape(char out[6], unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char two[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	for (size_t i = 0; i + 1 < sizeof two; i += 2)
		if ((unsigned char)two[i] == c) {
			out[0] = '\\';
			out[1] = two[i + 1];
			return 2;
		}
	if (c >= 0x20 && c != 0x7f) {
		out[0] = (char)c;
		return 1;
	}
	memcpy(out, "\\u00", 4);
	out[4] = hex[c >> 4];
	out[5] = hex[c & 15];
	return 6;
}

/* How many bytes from t.s[i] on are ASCII that stands for itself. */
static size_t unescaped(struct text t, size_t i)
{
	size_t n = 0;

	while (i + n < t.len && (unsigned char)t.s[i + n] >= ' ' && (unsigned char)t.s[i + n] < 0x80 &&
	       t.s[i + n] != '"' && t.s[i + n] != '\\' && t.s[i + n] != 0x7f)
		n++;
	return n;
}

bool buf_add_json_part(struct buf *b, struct text t)
{
	size_t mark = b->len;
	char out[6];
	bool ok = true;

	for (size_t i = 0; i < t.len && ok;) {
		unsigned char c = (unsigned char)t.s[i];
		size_t plain = unescaped(t, i), n = c < 0x80 ? 1 : utf8_sequence(t.s + i, t.len - i);

		if (plain > 0) {
			ok = buf_add(b, t.s + i, plain);
			n = plain;
		} else if (c == 0 || n == 0) {
			ok = buf_add(b, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LEN);
			n = 1;
		} else {
			ok = n > 1 ? buf_add(b, t.s + i, n) : buf_add(b, out, escape(out, c));
		}
		i += n;
	}
	if (!ok)
		b->len = mark;
	return ok;
}

bool buf_add_json(struct buf *b, struct text t)
{
	size_t mark = b->len;

	if (buf_addc(b, '"') && buf_add_json_part(b, t) && buf_addc(b, '"'))
		return true;
	b->len = mark;
	return false;
}

const char *buf_cstr(struct buf *b)
{
	char *end = buf_room(b, 1);

	if (!end)
		return NULL;
	*end = '\0';
	return b->data;
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = BUF(b->max);
}
