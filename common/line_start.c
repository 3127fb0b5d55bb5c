#include "line_start.h"

#include <errno.h>
#include <regex.h>
#include <stdlib.h>

#include "cleanup.h"
#include "parse.h"

#define SUBSTITUTE '\032'

struct line_start {
	regex_t regex;
};

/* One past the set at s, which is a [. */
static const char *behind_set(const char *s)
{
	s++;
	s += *s == '^';
	s += *s == ']';
	while (*s && *s != ']') {
		const char *end = s[0] == '[' && s[1] && strchr(".:=", s[1]) ? strchr(s + 2, ']') : NULL;

		s = end ? end + 1 : s + 1;
	}
	return *s ? s + 1 : s;
}

/* The larger number in the braces at s. */
static int64_t repeats(const char *s)
{
	size_t n = strcspn(s, ",}"), rest = s[n] == ',' ? strcspn(s + n + 1, "}") : 0;
	int64_t low = 0, high = 0;

	parse_i64((struct text){ s, n }, &low);
	if (rest > 0)
		parse_i64((struct text){ s + n + 1, rest }, &high);
	return high > low ? high : low;
}

/* What would make it slow. */
static int check_cost(const char *pattern, struct err *e)
{
	int64_t product = 1;

	if (strlen(pattern) > LINE_START_PATTERN_MAX)
		return err_set(e, EINVAL, "is longer than %d bytes; shorten it", LINE_START_PATTERN_MAX);
	for (const char *s = pattern; *s;) {
		if (*s == '\\' && s[1] >= '1' && s[1] <= '9')
			return err_set(e, EINVAL, "refers back by \\%c; write the text out", s[1]);
		if (*s == '{') {
			int64_t n = repeats(s + 1);

			if (n > LINE_START_REPEATS_MAX || (n > 1 && (product *= n) > LINE_START_REPEATS_MAX))
				return err_set(e, EINVAL, "repeats more than %d times in all; write smaller "
					       "numbers in its braces, or + or *", LINE_START_REPEATS_MAX);
		}
		s = *s == '[' ? behind_set(s) : *s == '\\' && s[1] ? s + 2 : s + 1;
	}
	return 0;
}

int line_start_compile(struct line_start **ret, const char *pattern, struct err *e)
{
	CLEANUP(free_p) struct line_start *p = calloc(1, sizeof *p);
	char why[128];
	int r = check_cost(pattern, e);

	if (r < 0)
		return r;
	if (!p)
		return err_set(e, ENOMEM, "needs more memory than there is; give the process more");
	r = regcomp(&p->regex, pattern, REG_EXTENDED | REG_NOSUB);
	if (r != 0) {
		regerror(r, &p->regex, why, sizeof why);
		return err_set(e, EINVAL,
			       "is no POSIX extended regular expression (%s); try it with grep -E", why);
	}
	*ret = TAKE_PTR(p);
	return 0;
}

/* regexec() takes a text that ends in NUL: within it, another control character stands for one. */
bool line_start_matches(const struct line_start *p, struct text line)
{
	char text[LINE_START_BYTES + 1];
	size_t n = line.len < LINE_START_BYTES ? line.len : LINE_START_BYTES;

	for (size_t i = 0; i < n; i++)
		text[i] = line.s[i] ? line.s[i] : SUBSTITUTE;
	text[n] = '\0';
	return regexec(&p->regex, text, 0, NULL, 0) == 0;
}

void line_start_free(struct line_start *p)
{
	if (!p)
		return;
	regfree(&p->regex);
	free(p);
}
