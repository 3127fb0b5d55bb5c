#include "number.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t count_digits(uint64_t v)
{
	size_t n = 1;

	for (; v >= 10000; v /= 10000)
		n += 4;
	return n + (v >= 10) + (v >= 100) + (v >= 1000);
}

size_t logcore_number_u64(char *out, uint64_t v)
{
	size_t n = count_digits(v), i = n;

	for (; v >= 100; v /= 100)
		logcore_number_two(out + (i -= 2), (unsigned)(v % 100));
	if (v >= 10)
		logcore_number_two(out, (unsigned)v);
	else
		out[0] = (char)('0' + v);
	return n;
}

size_t logcore_number_i64(char *out, int64_t v)
{
	if (v >= 0)
		return logcore_number_u64(out, (uint64_t)v);
	*out = '-';
	return 1 + logcore_number_u64(out + 1, 0 - (uint64_t)v);
}

size_t logcore_number_millionths(char *out, int64_t v)
{
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	unsigned rest = (unsigned)(u % 1000000);
	char *p = out;

	if (v < 0)
		*p++ = '-';
	p += logcore_number_u64(p, u / 1000000);
	*p++ = '.';
	logcore_number_two(p, rest / 10000);
	logcore_number_two(p + 2, rest / 100 % 100);
	logcore_number_two(p + 4, rest % 100);
	p += 6;
	while (p[-1] == '0' && p[-2] != '.')
		p--;
	return (size_t)(p - out);
}

/* A finite, positive v as v == m * 2^e, where m has as many bits as the type, so that
 * m + 1 is the type's next value. */
struct binary {
	double v;
	uint64_t m;
	int e;
	int bits;                       /* of m: 53 or 24 */
};

#ifdef __SIZEOF_INT128__
__extension__ typedef unsigned __int128 wide;

/* "12345" with 3 decimals becomes "12.345", with 7 "0.0012345". */
static size_t put_point(char *out, uint64_t digits, size_t decimals)
{
	char text[20];
	size_t n = logcore_number_u64(text, digits), whole = n > decimals ? n - decimals : 0;
	char *p = out;

	if (whole == 0)
		*p++ = '0';
	memcpy(p, text, whole);
	p += whole;
	*p++ = '.';
	for (size_t i = n; i < decimals; i++)
		*p++ = '0';
	memcpy(p, text + whole, n - whole);
	return (size_t)(p - out) + n - whole;
}

/* n / 2^shift / unit, rounded to nearest, ties to even, once. */
static uint64_t divide(wide n, int shift, uint64_t unit)
{
	wide rest = n & (((wide)1 << shift) - 1), half = (wide)1 << (shift - 1);
	uint64_t whole = (uint64_t)(n >> shift), q = whole / unit, over = whole % unit;

	if (unit == 1)
		return q + (rest > half || (rest == half && (q & 1)));
	return q + (over > unit / 2 || (over == unit / 2 && (rest || (q & 1))));
}

/*
 * Fractions between 1e-5 and 2^52, by exact integers. v * 10^p has 17 or 18 digits before
 * the point, and any integer strictly between the midpoints to v's neighbours reads back
 * as v: remove digits from its end while such an integer remains. 10^p is at most 10^22,
 * so with 53 bits of m everything stays below 2^127.
 */
static size_t put_fraction(char *out, const struct binary *b)
{
	int shift = -b->e, p;
	uint64_t low, high, q, unit = 1;
	wide power = 1, n, half;

	/* 1233/4096 is log10(2): gives the decimal exponent, or one less. */
	p = 16 - ((b->e + b->bits - 1) * 1233 >> 12);
	for (int i = 0; i < p; i++)
		power *= 10;
	n = b->m * power;
	half = power / 2;
	/* Below a power of two the next value is half as far away. */
	low = (uint64_t)((n - (b->m == UINT64_C(1) << (b->bits - 1) ? half / 2 : half)) >> shift) + 1;
	high = (uint64_t)((n + half - 1) >> shift);
	for (; (low + 9) / 10 <= high / 10; p--, unit *= 10) {
		low = (low + 9) / 10;
		high /= 10;
	}
	q = divide(n, shift, unit);
	return put_point(out, q < low ? low : q > high ? high : q, (size_t)p);
}

static bool is_plain_fraction(const struct binary *b)
{
	return b->v >= 1e-5 && b->v < 4503599627370496.0;       /* 2^52 */
}
#endif

/* "1,2500e+30" becomes "1.25e+30": replace the decimal point of the locale, which may have
 * several bytes, and remove trailing zeros. */
static size_t tidy(char *out, const char *s)
{
	char *p = out;

	for (; *s && *s != 'e'; s++) {
		if (*s >= '0' && *s <= '9')
			*p++ = *s;
		else if (p[-1] != '.')
			*p++ = '.';
	}
	while (p[-1] == '0')
		p--;
	p -= p[-1] == '.';
	while (*s)
		*p++ = *s++;
	return (size_t)(p - out);
}

/* Very large and very small values, which are rare in logs. */
static size_t put_rare(char *out, const struct binary *b)
{
	char text[LOGCORE_NUMBER_MAX];
	int digits = b->bits > 24 ? 15 : 6;

	if (b->v < (b->bits > 24 ? DBL_MIN : (double)FLT_MIN))
		digits = 1;             /* subnormal: fewer bits, and fewer digits */
	for (;; digits++) {
		snprintf(text, sizeof text, "%.*e", digits - 1, b->v);
		if (b->bits > 24 ? digits == 17 || strtod(text, NULL) == b->v :
				   digits == 9 || (double)strtof(text, NULL) == b->v)
			break;
	}
	return tidy(out, text);
}

static size_t put_positive(char *out, const struct binary *b)
{
	size_t n;

	if (b->v < 1e17 && b->v == (double)(uint64_t)b->v) {
		n = logcore_number_u64(out, (uint64_t)b->v);
		memcpy(out + n, ".0", 2);
		return n + 2;
	}
#ifdef __SIZEOF_INT128__
	if (is_plain_fraction(b))
		return put_fraction(out, b);
#endif
	return put_rare(out, b);
}

static size_t put_special(char *out, double v)
{
	const char *name = isnan(v) ? "\"NaN\"" : v > 0 ? "\"Infinity\"" : "\"-Infinity\"";
	size_t n = strlen(name);

	memcpy(out, name, n);
	return n;
}

size_t logcore_number_double(char *out, double v)
{
	uint64_t raw;
	struct binary b;

	if (!isfinite(v))
		return put_special(out, v);
	memcpy(&raw, &v, sizeof raw);
	if (raw >> 63)
		*out = '-';
	b.v = fabs(v);
	b.m = (raw & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
	b.e = (int)(raw >> 52 & 0x7ff) - 1075;
	b.bits = 53;
	return (raw >> 63) + put_positive(out + (raw >> 63), &b);
}

size_t logcore_number_float(char *out, float v)
{
	uint32_t raw;
	struct binary b;

	if (!isfinite(v))
		return put_special(out, (double)v);
	memcpy(&raw, &v, sizeof raw);
	if (raw >> 31)
		*out = '-';
	b.v = fabs((double)v);
	b.m = (raw & ((UINT32_C(1) << 23) - 1)) | UINT32_C(1) << 23;
	b.e = (int)(raw >> 23 & 0xff) - 150;
	b.bits = 24;
	return (raw >> 31) + put_positive(out + (raw >> 31), &b);
}
