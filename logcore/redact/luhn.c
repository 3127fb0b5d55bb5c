#include "luhn.h"

#include <stdbool.h>

enum { DIGITS_MIN = 13, DIGITS_MAX = 19, GROUP_MIN = 4 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_of_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '%';
}

/* Luhn's. Source: ISO/IEC 7812-1, annex B. */
static bool has_check_digit(const char *d, size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned v = (unsigned)(d[n - 1 - i] - '0') << (i & 1);

		sum += v > 9 ? v - 9 : v;
	}
	return sum % 10 == 0;
}

/* Visa, Mastercard, American Express, Diners Club, Discover, UnionPay, JCB: the first
 * four digits, and how many there are. */
static bool has_issuer(const char *d, size_t n)
{
	static const struct { int first, last; size_t min, max; } issuers[] = {
		{ 4000, 4999, 13, 13 }, { 4000, 4999, 16, 16 }, { 4000, 4999, 19, 19 },
		{ 5100, 5599, 16, 16 }, { 2221, 2720, 16, 16 }, { 3400, 3499, 15, 15 },
		{ 3700, 3799, 15, 15 }, { 3000, 3059, 14, 14 }, { 3600, 3699, 14, 14 },
		{ 3800, 3999, 14, 14 }, { 6011, 6011, 16, 19 }, { 6440, 6599, 16, 19 },
		{ 6200, 6299, 16, 19 }, { 3528, 3589, 16, 19 },
	};
	int first = (d[0] - '0') * 1000 + (d[1] - '0') * 100 + (d[2] - '0') * 10 + (d[3] - '0');

	for (size_t i = 0; i < sizeof issuers / sizeof *issuers; i++)
		if (first >= issuers[i].first && first <= issuers[i].last && n >= issuers[i].min &&
		    n <= issuers[i].max)
			return true;
	return false;
}

static bool is_card(const char *d, size_t n)
{
	return has_issuer(d, n) && has_check_digit(d, n);
}

/* Whether a number may start here: not within a word, a decimal, or a longer number with dashes. */
static bool may_start(const char *s, size_t i)
{
	if (i == 0)
		return true;
	if (s[i - 1] == '.' || s[i - 1] == '-')
		return i > 1 && !is_of_word(s[i - 2]);
	return !is_of_word(s[i - 1]);
}

static bool may_end(const char *s, size_t len, size_t i)
{
	if (i < len && s[i] == '.')
		return i + 1 == len || !is_digit(s[i + 1]);
	return i == len || !is_of_word(s[i]);
}

/* Whether the digits at i, in steps of `step`, are a group of four. */
static bool has_group(const char *s, size_t len, size_t i, int step)
{
	size_t n = 0;

	for (; i < len && is_digit(s[i]) && n <= GROUP_MIN; i += (size_t)step)
		n++;
	return n == GROUP_MIN;
}

/* Whether another group of four stands beside the number: then it belongs to a table. */
static bool in_table(const char *s, size_t len, size_t start, size_t end)
{
	return has_group(s, len, end + 1, 1) || has_group(s, len, start - 2, -1);
}

size_t logcore_luhn_card(const char *s, size_t len, size_t i)
{
	char digits[DIGITS_MAX], between = 0;
	size_t n = 0, group = 0, start = i;

	if (!may_start(s, i))
		return 0;
	for (;; i++) {
		if (i < len && is_digit(s[i])) {
			if (n == DIGITS_MAX)
				return 0;
			digits[n++] = s[i];
			group++;
			continue;
		}
		if (n >= DIGITS_MIN && may_end(s, len, i) && is_card(digits, n))
			return between && in_table(s, len, start, i) ? 0 : i - start;
		if (group < GROUP_MIN || i + 1 >= len || !is_digit(s[i + 1]) ||
		    (s[i] != ' ' && s[i] != '-') || (between && s[i] != between))
			return 0;
		between = s[i];
		group = 0;
	}
}
