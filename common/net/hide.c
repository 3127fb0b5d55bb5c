#include "hide.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/parse.h"

enum { SECRET_TELLING = 4 };            /* bytes */

/* The character at *s, in lower case, with percent forms (also nested ones) decoded; moves *s behind it. */
static int take_character(const char **s)
{
	int c = (unsigned char)*(*s)++;

	while (c == '%' && hex_value((*s)[0]) >= 0 && hex_value((*s)[1]) >= 0) {
		c = hex_value((*s)[0]) * 16 + hex_value((*s)[1]);
		*s += 2;
	}
	return c == '+' ? ' ' : tolower(c);
}

/* Where `secret` ends if it begins at `s`; NULL: it does not. */
static const char *behind_secret(const char *s, const char *secret)
{
	while (*secret) {
		if (!*s || take_character(&s) != take_character(&secret))
			return NULL;
	}
	return s;
}

/* Where the longest secret ends that begins at `s`; NULL: none does. *ret_short: it is so short
 * that other text may look the same. */
static const char *behind_longest(const char *s, const struct secret *secrets, bool *ret_short)
{
	const char *longest = NULL;

	for (; secrets; secrets = secrets->next) {
		const char *end = behind_secret(s, secrets->text);

		if (!end || (longest && end <= longest))
			continue;
		longest = end;
		*ret_short = strlen(secrets->text) < SECRET_TELLING;
	}
	return longest;
}

bool secrets_hide(const struct secret *secrets, const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (const char *s = text, *end; *s && n + 1 < size; s = end) {
		bool is_short = false;

		end = behind_longest(s, secrets, &is_short);
		if (is_short)
			return false;
		n += (size_t)snprintf(out + n, size - n, "%.*s", end ? 3 : 1, end ? "***" : s);
		n = n < size ? n : size - 1;
		end = end ? end : s + 1;
	}
	out[n] = '\0';
	return true;
}

/* libcurl names a host beyond ASCII in another form (xn--..., or letters that stand for it). */
bool secrets_may_be_respelt(const struct secret *secrets)
{
	for (; secrets; secrets = secrets->next)
		for (const char *s = secrets->text; *s;)
			if (take_character(&s) >= 0x80)
				return true;
	return false;
}
