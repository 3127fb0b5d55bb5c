#include "json_scan.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "common/parse.h"
#include "common/utf8.h"

enum {
	NUMBER_LEN_MAX = 64,            /* longer numbers are kept as text */
	EXPONENT_MAX = 308,             /* so are those that no double holds */
	UNICODE_REPLACEMENT = 0xfffd,
};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Four hex digits at s, -1 when they are not. */
static int hex4(const char *s, const char *end)
{
	int v = 0;

	if (end - s < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int h = hex_value(s[i]);

		if (h < 0)
			return -1;
		v = v << 4 | h;
	}
	return v;
}

static bool high_surrogate(int u)
{
	return u >= 0xd800 && u <= 0xdbff;
}

static bool low_surrogate(int u)
{
	return u >= 0xdc00 && u <= 0xdfff;
}

/*
 * An escape whose backslash is at s: its length, 0 when it is not valid JSON.
 * A surrogate pair is one escape of 12 bytes. *ret_code is the code point, or
 * -1 when the escape is valid JSON but stands for nothing that can be stored.
 */
static size_t escape(const char *s, const char *end, int32_t *ret_code)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	int u, low;

	if (end - s < 2)
		return 0;
	if (s[1] != 'u') {
		at = memchr(from, s[1], sizeof from - 1);
		*ret_code = at ? to[at - from] : 0;
		return at ? 2 : 0;
	}
	u = hex4(s + 2, end);
	if (u < 0)
		return 0;
	*ret_code = u == 0 || high_surrogate(u) || low_surrogate(u) ? -1 : u;
	if (!high_surrogate(u) || end - s < 12 || s[6] != '\\' || s[7] != 'u')
		return 6;
	low = hex4(s + 8, end);
	if (!low_surrogate(low))
		return 6;
	*ret_code = 0x10000 + (u - 0xd800) * 0x400 + (low - 0xdc00);
	return 12;
}

/* What is written before it is read need not be cleared first. */
#define UNINITIALIZED __attribute__((uninitialized))

#ifdef __SSE2__
#define PLAIN_END8 __attribute__((noinline)) static     /* for the end of a line only */
#else
#define PLAIN_END8 static inline
#endif

/*
 * The first byte that ends a plain run: a quote, a backslash, a control; `end` when
 * there is none. Eight bytes at a time: "Determine if a word has a byte less than n"
 * and "equal to n", Bit Twiddling Hacks. A byte above 0x7f never counts, and the
 * lowest byte that is flagged is a true one.
 */
PLAIN_END8 const char *plain_end8(const char *p, const char *end)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
	uint64_t w, hits;

	for (; end - p >= 8; p += 8) {
		memcpy(&w, p, 8);
		w = le64toh(w);
		hits = ((w - ones * 0x20) | ((w ^ ones * '"') - ones) | ((w ^ ones * '\\') - ones)) & ~w &
		       high;
		if (hits)
			return p + __builtin_ctzll(hits) / 8;
	}
	while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
		p++;
	return p;
}

#ifdef __SSE2__
/* The same, sixteen at a time. */
static inline const char *plain_end(const char *p, const char *end)
{
	const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'),
		      control = _mm_set1_epi8(0x1f);

	for (; end - p >= 16; p += 16) {
		__m128i w = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i hits = _mm_or_si128(_mm_cmpeq_epi8(w, quote), _mm_cmpeq_epi8(w, backslash));
		int mask = _mm_movemask_epi8(_mm_or_si128(hits, _mm_cmpeq_epi8(_mm_min_epu8(w, control), w)));

		if (mask)
			return p + __builtin_ctz((unsigned)mask);
	}
	return plain_end8(p, end);
}
#else
#define plain_end plain_end8
#endif

const char *json_plain_end(const char *p, const char *end)
{
	return plain_end(p, end);
}

/* A plain run has ended at `p` in something else than a quote: the closing quote, NULL when there is none. */
__attribute__((noinline)) static const char *string_with_escapes(struct json_scan *j, const char *p)
{
	int32_t code;
	size_t n;

	for (; p < j->end && *p == '\\'; p = plain_end(p + n, j->end)) {
		n = escape(p, j->end, &code);
		if (n == 0)
			return NULL;
		j->escaped = true;
		j->unstorable |= code < 0;
	}
	return p == j->end || *p != '"' ? NULL : p;
}

/* Walk over the string whose opening quote is at j->p: its closing quote, NULL when it is none. */
static inline const char *string(struct json_scan *j)
{
	const char *p;

	if (j->p == j->end || *j->p != '"')
		return NULL;
	p = plain_end(j->p + 1, j->end);
	if (p == j->end || *p != '"')
		p = string_with_escapes(j, p);
	if (p)
		j->p = p + 1;
	return p;
}

bool json_string(struct json_scan *j, bool *ret_escapes, struct text *ret)
{
	const char *start = j->p + 1, *end;

	j->escaped = false;
	end = string(j);
	if (!end)
		return false;
	*ret_escapes = j->escaped;
	*ret = (struct text){ start, (size_t)(end - start) };
	return true;
}

static const char *digits(const char *p, const char *end)
{
	while (p < end && digit(*p))
		p++;
	return p;
}

/* Would PostgreSQL store it as a number of sane size? `e`: where its exponent begins. */
static bool storable_number(size_t len, const char *e, const char *end)
{
	long exponent = 0;

	for (; e < end && exponent <= EXPONENT_MAX; e++)
		exponent = digit(*e) ? exponent * 10 + (*e - '0') : exponent;
	return len <= NUMBER_LEN_MAX && exponent <= EXPONENT_MAX;
}

static bool number(struct json_scan *j)
{
	const char *start = j->p, *p = j->p, *from, *mantissa_end;

	p += p < j->end && *p == '-';
	from = p;
	p = digits(p, j->end);
	if (p == from || (*from == '0' && p - from > 1))
		return false;
	if (p < j->end && *p == '.') {
		from = ++p;
		p = digits(p, j->end);
		if (p == from)
			return false;
	}
	mantissa_end = p;
	if (p < j->end && (*p == 'e' || *p == 'E')) {
		p++;
		p += p < j->end && (*p == '+' || *p == '-');
		from = p;
		p = digits(p, j->end);
		if (p == from)
			return false;
	}
	j->p = p;
	j->unstorable |= !storable_number((size_t)(p - start), mantissa_end, p);
	return true;
}

static bool word(struct json_scan *j)
{
	static const struct text words[] = { { "true", 4 }, { "false", 5 }, { "null", 4 } };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if ((size_t)(j->end - j->p) >= words[i].len &&
		    memcmp(j->p, words[i].s, words[i].len) == 0) {
			j->p += words[i].len;
			return true;
		}
	return false;
}

static inline enum json_kind type_of(const struct json_scan *j)
{
	static const unsigned char kinds[256] = {
		['"'] = JSON_STRING, ['{'] = JSON_OBJECT, ['['] = JSON_ARRAY,  ['t'] = JSON_WORD,
		['f'] = JSON_WORD,   ['n'] = JSON_WORD,   ['-'] = JSON_NUMBER, ['0' ... '9'] = JSON_NUMBER,
	};

	return j->p == j->end ? JSON_INVALID : (enum json_kind)kinds[(unsigned char)*j->p];
}

static inline bool scalar(struct json_scan *j, enum json_kind type)
{
	switch (type) {
	case JSON_STRING: return string(j);
	case JSON_NUMBER: return number(j);
	case JSON_WORD:   return word(j);
	default:          return false;
	}
}

/* `"key" :` inside an object. Notes where it may be equal to another of the `keys`: of one
 * with escapes the bytes do not tell. */
static bool key(struct json_scan *j, uint64_t *keys)
{
	const char *start = j->p + 1, *end;
	uint64_t bit;

	if (j->keys_left-- <= 0 || j->p == j->end || *j->p != '"')
		return false;
	end = plain_end(start, j->end);
	if (end == j->end || *end != '"') {
		end = string_with_escapes(j, end);
		j->repeated = true;
	}
	if (!end)
		return false;
	bit = json_key_bit((struct text){ start, (size_t)(end - start) });
	j->repeated |= (*keys & bit) != 0;
	*keys |= bit;
	j->p = end + 1;
	json_space(j);
	if (j->p == j->end || *j->p != ':')
		return false;
	j->p++;
	json_space(j);
	return true;
}

/*
 * An object or an array, without recursion: `open` remembers for each level
 * which of the two it is, `outer` the keys of the levels around, so depth costs
 * nine bytes each and no stack frame.
 */
__attribute__((noinline)) static bool container(struct json_scan *j)
{
	char open[256] UNINITIALIZED;
	uint64_t outer[256] UNINITIALIZED, keys = 0;
	int depth = 0, limit = j->depth_max < (int)sizeof open ? j->depth_max : (int)sizeof open;
	bool in_object = false;

	for (;;) {
		enum json_kind type;

		if (in_object && !key(j, &keys))
			return false;
		type = type_of(j);
		if (type == JSON_OBJECT || type == JSON_ARRAY) {
			if (depth == limit)
				return false;
			in_object = type == JSON_OBJECT;
			outer[depth] = keys;
			open[depth++] = in_object ? '}' : ']';
			keys = 0;
			j->p++;
			json_space(j);
			if (j->p < j->end && *j->p != open[depth - 1])
				continue;
		} else if (!scalar(j, type)) {
			return false;
		}
		for (;;) {
			json_space(j);
			if (j->p == j->end)
				return false;
			if (*j->p != open[depth - 1])
				break;
			j->p++;
			if (--depth == 0) {
				j->keys = keys;
				return true;
			}
			keys = outer[depth];
		}
		if (*j->p++ != ',')
			return false;
		json_space(j);
		in_object = open[depth - 1] == '}';
	}
}

bool json_value(struct json_scan *j, enum json_kind *ret_kind, struct text *ret)
{
	const char *start = j->p;
	enum json_kind type = type_of(j);

	j->escaped = false;
	if (type == JSON_OBJECT || type == JSON_ARRAY ? !container(j) : !scalar(j, type))
		return false;
	*ret_kind = type;
	*ret = (struct text){ start, (size_t)(j->p - start) };
	return true;
}

bool json_unescape(struct text t, struct buf *out)
{
	const char *p = t.s, *end = t.s + t.len;

	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		int32_t code = 0;
		char utf8[4];

		if (!buf_add(out, p, (size_t)((slash ? slash : end) - p)))
			return false;
		if (!slash)
			return true;
		p = slash + escape(slash, end, &code);
		if (!buf_add(out, utf8, utf8_encode(utf8, code < 0 ? UNICODE_REPLACEMENT : (uint32_t)code)))
			return false;
	}
	return true;
}

/* One byte, sequence or escape at t.s[i] inside or outside a string. */
static size_t repair_step(struct text t, size_t i, bool in_string, struct buf *out, bool *ok)
{
	size_t n = utf8_sequence(t.s + i, t.len - i);
	int32_t code = 0;

	if (n == 0 || t.s[i] == '\0') {
		*ok &= buf_add(out, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LEN);
		return 1;
	}
	if (in_string && t.s[i] == '\\') {
		n = escape(t.s + i, t.s + t.len, &code);
		if (n && code < 0) {
			*ok &= buf_adds(out, "\\ufffd");
			return n;
		}
		n = n ? n : 1;
	}
	*ok &= buf_add(out, t.s + i, n);
	return n;
}

/* A number where a key should be is no JSON: as a string it would become some. */
static bool is_key(struct json_scan j)
{
	json_space(&j);
	return j.p < j.end && *j.p == ':';
}

/* A number token at t.s[i]: copied, as a string where it can't be stored. */
static size_t repair_number(struct text t, size_t i, struct buf *out, bool *ok)
{
	struct json_scan j = { .p = t.s + i, .end = t.s + t.len };
	size_t n;

	if (!number(&j)) {
		*ok &= buf_addc(out, t.s[i]);
		return 1;
	}
	n = (size_t)(j.p - (t.s + i));
	j.unstorable &= !is_key(j);
	if (j.unstorable)
		*ok &= buf_addc(out, '"');
	*ok &= buf_add(out, t.s + i, n);
	if (j.unstorable)
		*ok &= buf_addc(out, '"');
	return n;
}

bool json_repair(struct text t, bool json, struct buf *out)
{
	bool in_string = false, ok = true;

	for (size_t i = 0; i < t.len && ok;) {
		if (json && !in_string && (digit(t.s[i]) || t.s[i] == '-')) {
			i += repair_number(t, i, out, &ok);
			continue;
		}
		if (json && t.s[i] == '"')
			in_string = !in_string;
		i += repair_step(t, i, json && in_string, out, &ok);
	}
	return ok;
}
