/*
 * number.h - numbers as JSON text. Private to the library. Does not depend on the locale;
 * calls printf only for numbers that logs hardly have.
 *
 * Each function writes at most LOGCORE_NUMBER_MAX bytes, no terminator, and
 * returns how many.
 */
#ifndef LOGCORE_NUMBER_H
#define LOGCORE_NUMBER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { LOGCORE_NUMBER_MAX = 40 };

size_t logcore_number_i64(char *out, int64_t v);
size_t logcore_number_u64(char *out, uint64_t v);

/* The shortest decimal that reads back as v, with a point or an exponent, so that readers
 * keep it a double; "NaN", "Infinity", "-Infinity" as JSON strings. */
size_t logcore_number_double(char *out, double v);

/* The shortest decimal that reads back as a float. */
size_t logcore_number_float(char *out, float v);

/* v / 1000000, exactly, with a point: "1.5", "-0.000001", "3.0". */
size_t logcore_number_millionths(char *out, int64_t v);

/* Exactly two digits; v is below 100. */
static inline void logcore_number_two(char *out, unsigned v)
{
	static const char pairs[] =
		"0001020304050607080910111213141516171819"
		"2021222324252627282930313233343536373839"
		"4041424344454647484950515253545556575859"
		"6061626364656667686970717273747576777879"
		"8081828384858687888990919293949596979899";

	memcpy(out, pairs + 2 * v, 2);
}

#endif
