#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

char *buf_grown(struct buf *b, size_t n)
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
static size_t escape(char *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char letters[128] = {
		['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
		['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't',
	};

	if (letters[c]) {
		out[0] = '\\';
		out[1] = letters[c];
		return 2;
	}
	memcpy(out, "\\u00", 4);
	out[4] = hex[c >> 4];
	out[5] = hex[c & 15];
	return 6;
}

/* ASCII that stands for itself in a JSON string. */
static const bool plain[256] = {
	[' ' ... '!'] = true, ['#' ... '['] = true, [']' ... '~'] = true
};

enum {
	BLOCK = 16,
	PART = 256,                     /* so many bytes are escaped at once, ... */
	ESCAPED_MAX = 6,                /* ... each to so many at most */
	UTF8_MAX = 4,
};

#ifdef __SSE2__
/* A bit for each byte of a block that is not plain. */
static inline unsigned block_escapes(const char *s)
{
	const __m128i w = _mm_loadu_si128((const __m128i *)(const void *)s);
	/* Signed: what is not ASCII is below a space, too. */
	const __m128i low = _mm_or_si128(_mm_cmplt_epi8(w, _mm_set1_epi8(' ')),
					 _mm_cmpeq_epi8(w, _mm_set1_epi8(0x7f)));
	const __m128i sign = _mm_or_si128(_mm_cmpeq_epi8(w, _mm_set1_epi8('"')),
					  _mm_cmpeq_epi8(w, _mm_set1_epi8('\\')));

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, sign));
}
#else
static inline unsigned block_escapes(const char *s)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < BLOCK; i++)
		bits |= (unsigned)!plain[(unsigned char)s[i]] << i;
	return bits;
}
#endif

/* How many bytes from t.s[i] on are plain. */
static size_t plain_run(struct text t, size_t i)
{
	size_t n = i;

	for (; t.len - n >= BLOCK; n += BLOCK) {
		unsigned bits = block_escapes(t.s + n);

		if (bits)
			return n + (size_t)__builtin_ctz(bits) - i;
	}
	while (n < t.len && plain[(unsigned char)t.s[n]])
		n++;
	return n - i;
}

bool json_is_plain(struct text t)
{
	size_t n = 0;

	if (t.len < BLOCK)
		return plain_run(t, 0) == t.len;
	for (; t.len - n >= BLOCK; n += BLOCK)
		if (block_escapes(t.s + n))
			return false;
	return !block_escapes(t.s + t.len - BLOCK);     /* looks at some bytes twice */
}

/* A part of t from byte *i on to `to`: at most PART bytes, or a character more. Returns where it ends. */
static char *escape_part(char *to, struct text t, size_t *i)
{
	size_t end = *i + PART < t.len ? *i + PART : t.len;

	while (*i < end) {
		size_t run = plain_run((struct text){ t.s, end }, *i), n;

		memcpy(to, t.s + *i, run);
		to += run;
		*i += run;
		if (*i == end)
			break;
		n = utf8_sequence(t.s + *i, t.len - *i);
		if (n == 0 || t.s[*i] == '\0')
			to = mempcpy(to, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LEN);
		else if (n == 1)
			to += escape(to, (unsigned char)t.s[*i]);
		else
			to = mempcpy(to, t.s + *i, n);
		*i += n ? n : 1;
	}
	return to;
}

bool buf_add_json_part(struct buf *b, struct text t)
{
	size_t mark = b->len;
	char part[ESCAPED_MAX * PART + UTF8_MAX];

	for (size_t i = 0; i < t.len;) {
		const char *end = escape_part(part, t, &i);

		if (!buf_add(b, part, (size_t)(end - part))) {
			b->len = mark;
			return false;
		}
	}
	return true;
}

/* Most texts are plain from end to end. */
static bool add_plain(struct buf *b, struct text t)
{
	char *to = buf_room(b, t.len + 2);

	if (!to)
		return false;
	to[0] = to[t.len + 1] = '"';
	if (t.len > 0)
		memcpy(to + 1, t.s, t.len);
	b->len += t.len + 2;
	return true;
}

bool buf_add_json(struct buf *b, struct text t)
{
	size_t mark = b->len;

	if (json_is_plain(t))
		return add_plain(b, t);
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
