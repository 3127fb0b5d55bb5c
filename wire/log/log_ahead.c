#include "log_reading.h"

#include <string.h>

#include "log_level.h"

/*
 * Behind a time stand words that nobody knows, and then a level: "web1 WARN [core]",
 * "request_id=F1 [error]", "imap-login: Error:". Words that cannot be prose may be many, one that can
 * be prose is let pass.
 */
enum { WORDS_MAX = 8, BYTES_MAX = 200, BRACKET_MAX = 60 };

struct ahead {
	bool timed;                     /* the line has a time; else it begins here */
	struct text before;             /* the word before */
	size_t gap;                     /* blanks behind it */
};

/* Letters alone, as in prose. */
static bool is_prose(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!is_letter(t.s[i]) && !(i + 1 == t.len && strchr(",.'", t.s[i])) &&
		    (unsigned char)t.s[i] < 0x80)
			return false;
	return true;
}

static bool ends_with(struct text t, const char *any)
{
	return t.len > 0 && strchr(any, t.s[t.len - 1]);
}

/* What closes a bracket; '\0': it is none. */
static char closing(char c)
{
	switch (c) {
	case '[': return ']';
	case '<': return '>';
	case '(': return ')';
	case '{': return '}';
	default:  return '\0';
	}
}

/* "[error]", "<Warning>", "(err):", "[E]". */
static size_t in_brackets(struct text t, enum log_level *ret)
{
	char open = text_first(t), close = open == '{' ? '\0' : closing(open);
	const char *end;
	struct text inside;

	if (!close)
		return 0;
	end = memchr(t.s, close, t.len < BRACKET_MAX ? t.len : BRACKET_MAX);
	if (!end)
		return 0;
	inside = text_trim((struct text){ t.s + 1, (size_t)(end - t.s) - 1 });
	if (end + 1 < t.s + t.len && !strchr(" :\t", end[1]))
		return 0;
	if (log_level_word(inside, ret, NULL) ||
	    (inside.len == 1 && open == '[' && strchr("IWEFD", inside.s[0]) &&
	     log_level_letter(inside.s[0], ret)))
		return (size_t)(end + 1 - t.s);
	return 0;
}

/* "%LINK-3-UPDOWN:": a facility, a severity of syslog, what happened. */
static size_t of_cisco(struct text t, enum log_level *ret)
{
	size_t n = 1;

	while (n < t.len && (is_upper(t.s[n]) || is_digit(t.s[n]) || t.s[n] == '_'))
		n++;
	if (n < 3 || n + 3 >= t.len || t.s[n] != '-' || t.s[n + 2] != '-' || t.s[n + 1] > '7' ||
	    !log_level_priority((struct text){ t.s + n + 1, 1 }, ret))
		return 0;
	for (n += 3; n < t.len && (is_word(t.s[n]) || t.s[n] == '-');)
		n++;
	return n < t.len && t.s[n] == ':' ? n : 0;
}

/* The length of a level with which `t` begins; 0: none, or none that is framed well enough. */
static size_t level_here(const struct ahead *a, struct text t, enum log_level *ret)
{
	size_t n = in_brackets(t, ret), w = word_length(t);
	struct text word = { t.s, w }, rest = text_after(t, w);
	enum log_level_kind kind;

	if (n > 0 || !a->timed)
		return n > 0 && (a->timed || ends_with(a->before, ":")) ? n : 0;
	if (text_first(t) == '%')
		return of_cisco(t, ret);
	if (w == 5 && memcmp(t.s, "LEVEL", 5) == 0 && text_begins(rest, ": ")) {        /* Db2 */
		struct text value = text_after(rest, 2);

		n = word_length(value);
		return log_level_word((struct text){ value.s, n }, ret, NULL) ? w + 2 + n : 0;
	}
	if (w == 0 || rest.len < 2 || !log_level_word(word, ret, &kind))
		return 0;
	if (is_upper_text(word) && kind != LEVEL_PLAIN && is_prose(a->before))
		return 0;
	if (is_upper_text(word) && (text_first(rest) == '\t' || (rest.s[0] == ':' && is_blank(rest.s[1])) ||
				    (rest.s[0] == ' ' && strchr(" [-|<(", rest.s[1]))))
		return w;
	if ((text_begins(rest, ": ") || text_begins(rest, " : ")) &&
	    (ends_with(a->before, ":]>|") || a->gap > 1 || !is_prose(a->before)))
		return w;
	return is_upper_text(word) && kind == LEVEL_PLAIN && rest.s[0] == ' ' && !is_prose(a->before) ? w : 0;
}

/* A word up to a blank; what is in brackets counts as one. */
static size_t word_of(struct text t)
{
	size_t n = 0;

	while (n < t.len && !is_blank(t.s[n])) {
		char close = closing(t.s[n]);
		const char *end = close ? memchr(t.s + n, close,
						 t.len - n < BRACKET_MAX ? t.len - n : BRACKET_MAX)
					: NULL;

		n = end ? (size_t)(end + 1 - t.s) : n + 1;
	}
	return n;
}

/* Without a time in front, what is looked for stands in brackets. */
static bool has_bracket(struct text t)
{
	return memchr(t.s, '[', t.len) || memchr(t.s, '<', t.len) || memchr(t.s, '(', t.len);
}

/* What the words say that were let pass: a pair, a logger, else a thread. */
static void take_word(struct reading *r, struct text t)
{
	const char *equals = memchr(t.s, '=', t.len);
	struct text value;

	while (t.len > 1 && strchr(":;,", t.s[t.len - 1]))
		t.len--;
	if (equals && word_length(t) == (size_t)(equals - t.s)) {
		while (t.len > 0) {     /* "user=joe,db=shop" */
			size_t n = word_length(t), end = n;

			while (end < t.len && t.s[end] != ',')
				end++;
			value = text_after(t, n < end ? n + 1 : n);
			value.len = n < end ? end - n - 1 : 0;
			if (n > 0 && n < end && t.s[n] == '=')
				log_text_add(r->found, (struct text){ t.s, n }, value);
			t = text_after(t, end < t.len ? end + 1 : end);
		}
	} else if (!r->named && is_qualified(t)) {
		reading_logger(r, t);
	} else if (is_letter(text_first(t)) && r->names < NAMES_MAX) {
		r->name[r->names++] = (struct bracketed){ t, is_prose(t) ? NAME_THREAD : rank_of(r, t, '[') };
	}
}

/* "[30/Nov/2026:12:00:01 +0000]": a time of a day in brackets. */
static bool time_here(struct reading *r, struct text t)
{
	struct log_time time;

	return text_first(t) == '[' && log_time_begins(r->clock, text_after(t, 1), &time) && time.dated &&
	       1 + time.len < t.len && t.s[1 + time.len] == ']';
}

bool take_ahead(struct reading *r)
{
	struct ahead a = { .timed = r->found->timed, .before = { r->rest.s, 0 }, .gap = 0 };
	struct text t = r->rest, words[WORDS_MAX];
	unsigned prose = 0;
	enum log_level level;

	if (r->found->leveled || r->in_group || !(a.timed || r->rest.s == r->begin))
		return false;
	if (t.len > BYTES_MAX)
		t.len = BYTES_MAX;
	if (!a.timed && !has_bracket(t))
		return false;
	for (unsigned i = 0; i < WORDS_MAX; i++) {
		size_t n = word_of(t);

		words[i] = a.before = (struct text){ t.s, n };
		prose += is_prose(a.before);
		t = text_after(t, n);
		a.gap = text_span(t, is_blank);
		t = text_after(t, a.gap);
		if (n == 0 || prose > 1 || t.len == 0)
			return false;
		n = level_here(&a, t, &level);
		if (n == 0 && !a.timed && time_here(r, t)) {
			if (log_level_word(words[i], &level, NULL) && i == 0)
				reading_level(r, level, 0);
			r->rest = text_after(r->rest, (size_t)(t.s - r->rest.s));
			return true;
		}
		if (n == 0 || (!a.timed && i > 0))
			continue;
		for (unsigned k = 0; k <= i; k++)
			take_word(r, words[k]);
		r->rest = text_after(r->rest, (size_t)(t.s - r->rest.s));
		reading_level(r, level, n);
		return true;
	}
	return false;
}

/* Cisco's facility, severity and mnemonic right behind a time. */
bool take_cisco(struct reading *r)
{
	enum log_level level;
	size_t n = text_first(r->rest) == '%' && r->found->timed && !r->found->leveled
			   ? of_cisco(r->rest, &level)
			   : 0;

	if (n == 0)
		return false;
	reading_logger(r, (struct text){ r->rest.s + 1, n - 1 });
	reading_level(r, level, n);
	return true;
}
