#include "log_reading.h"

#include <string.h>

#include "log_level.h"

/* "1796020200.123 " of Squid, as the first word. */
bool take_epoch(struct reading *r)
{
	enum { WHOLE = 10, FRACTION = 3 };
	struct text t = { r->rest.s, WHOLE + 1 + FRACTION };
	int64_t us;

	if (r->rest.s != r->begin || r->rest.len <= t.len || !is_blank(r->rest.s[t.len]) || t.s[WHOLE] != '.' ||
	    text_span(r->rest, is_digit) != WHOLE || !log_time_epoch(r->clock, t, &us))
		return false;
	r->found->timed = true;
	r->found->us = us;
	r->found->time = t;
	r->rest = text_after(r->rest, t.len);
	return true;
}

bool take_time(struct reading *r)
{
	struct log_time t;

	if (r->found->timed || !(is_digit(text_first(r->rest)) || is_letter(text_first(r->rest))) ||
	    !log_time_begins(r->clock, r->rest, &t))
		return false;
	r->found->timed = true;
	r->found->us = t.us;
	r->found->time = (struct text){ r->rest.s, t.len };
	r->syslog |= is_letter(text_first(r->rest)) && t.dated;
	r->rest = text_after(r->rest, t.len);
	return true;
}

/* May a level end here? What follows a level is a sign, or room. */
static bool ends_level(const struct reading *r, struct text rest, struct text word, enum log_level_kind kind)
{
	bool framed = r->found->timed || r->in_group || r->names > 0 || r->found->n > 0;
	char c = text_first(rest);

	if (kind == LEVEL_FRAMED && !framed)
		return false;
	if (rest.len == 0)
		return framed;
	if (c == ':' && rest.len > 2 && rest.s[1] == '/' && rest.s[2] == '/')
		return false;           /* "http://" */
	if (c == ':')   /* indented, it is an entry of some list */
		return framed || (!r->indented && rest.len > 1 && (is_blank(rest.s[1]) || is_upper_text(word)) && rest.s[1] != '/');
	if (strchr("]|>)", c))
		return framed || c == '>' || c == '|';
	if (c == '\t')
		return true;
	if (c == '[')   /* "INFO[0001] " of logrus */
		return is_upper_text(word) && rest.len > 1 && is_digit(rest.s[1]);
	if (c == '/' || c == ',' || c == '*')
		return framed;
	if (c != ' ')
		return false;
	if (rest.len > 1 && (is_blank(rest.s[1]) || strchr("|[-*", rest.s[1])))
		return framed || is_upper_text(word);
	if (rest.len > 1 && rest.s[1] == '=')   /* "ERROR = 4" of a program */
		return framed;
	/* One space, then a word: prose, unless it is written as only levels are. */
	if (is_upper_text(word))
		return kind == LEVEL_PLAIN || framed;
	return r->found->timed && kind == LEVEL_PLAIN && is_lower_text(word);
}

bool take_level(struct reading *r)
{
	size_t n = word_length(r->rest);
	struct text word = { r->rest.s, n };
	enum log_level_kind kind;
	enum log_level level;

	/* Ruby writes the letter and the word. */
	if (n == 0 || (r->found->leveled && !r->lettered) || !log_level_word(word, &level, &kind) ||
	    !ends_level(r, text_after(r->rest, n), word, kind))
		return false;
	r->lettered = false;
	reading_level(r, level, n);
	return true;
}

/* "I1130 12:00:01.1" of glog and klog, "I, [" of Ruby; behind a time and numbers "D Tag:" of Android. */
bool take_letter(struct reading *r)
{
	struct text t = r->rest;
	bool at_begin = t.s == r->begin;
	enum log_level level;

	if (r->found->leveled || t.len < 4 || !log_level_letter(t.s[0], &level))
		return false;
	if (at_begin && t.s[1] == ',' && t.s[2] == ' ' && t.s[3] == '[') {
		r->lettered = true;
		reading_level(r, level, 2);
		return true;
	}
	if (at_begin && strchr("IWEFD", t.s[0]) && is_digit(t.s[1])) {
		struct log_time time;

		if (!log_time_begins(r->clock, text_after(t, 1), &time))
			return false;
		reading_level(r, level, 1);
		return true;
	}
	if (at_begin && t.s[1] == ' ' && t.s[2] == '[' && is_digit(t.s[3])) {      /* CUPS */
		reading_level(r, level, 2);
		return true;
	}
	if (t.s[1] == ' ' && r->found->timed && strchr("IWEFD", t.s[0])) {      /* MongoDB: "I NETWORK  [" */
		size_t w = word_length(text_after(t, 2));

		if (w > 1 && is_upper_text((struct text){ t.s + 2, w }) && w + 2 < t.len && t.s[2 + w] == ' ') {
			reading_level(r, level, 2);
			return true;
		}
	}
	if ((t.s[1] == ' ' && r->found->timed && r->found->n > 0 && is_word(t.s[2])) ||
	    (t.s[1] == '/' && is_word(t.s[2]) && (r->found->timed || at_begin) && memchr(t.s, ':', t.len))) {
		reading_level(r, level, 2);
		return true;
	}
	return false;
}

/* "<27>" of syslog, and the version behind it. */
bool take_priority(struct reading *r)
{
	struct text inside;
	enum log_level level;
	size_t n;

	if (r->rest.s != r->begin || text_first(r->rest) != '<')
		return false;
	inside = text_after(r->rest, 1);
	n = text_span(inside, is_digit);
	if (n == 0 || n > 3 || n >= inside.len || inside.s[n] != '>' ||
	    !log_level_priority((struct text){ inside.s, n }, &level))
		return false;
	reading_level(r, level, n + 2);
	r->syslog = true;
	if (r->rest.len > 2 && is_digit(r->rest.s[0]) && r->rest.s[1] == ' ')
		r->rest = text_after(r->rest, 2);
	return true;
}

/* "1234:M 30 Nov 2026 12:00:01" of Redis, "1234:20261130:120001" of Zabbix: a process, as the first word. */
bool take_process(struct reading *r)
{
	size_t n = text_span(r->rest, is_digit), role;
	struct log_time time;
	struct text t;

	if (r->rest.s != r->begin || n == 0 || n > 10 || n + 3 >= r->rest.len || r->rest.s[n] != ':')
		return false;
	role = is_upper(r->rest.s[n + 1]) && r->rest.s[n + 2] == ' ' ? 2 : 0;
	t = text_after(r->rest, n + 1 + role);
	if (!log_time_begins(r->clock, t, &time) || !time.dated)
		return false;
	reading_add(r, "pid", (struct text){ r->rest.s, n });
	r->rest = t;
	r->redis = role > 0;
	return true;
}

/* The sign of Redis behind its time: ". - * #". "I! " of Telegraf. */
bool take_sign(struct reading *r)
{
	static const struct { char sign; enum log_level level; } signs[] = {
		{ '.', LEVEL_DEBUG }, { '-', LEVEL_DEBUG }, { '*', LEVEL_INFO }, { '#', LEVEL_WARNING },
	};
	enum log_level level;

	if (r->found->leveled || !r->found->timed || r->rest.len < 3 || !is_blank(r->rest.s[r->redis ? 1 : 2]))
		return false;
	if (!r->redis) {
		if (r->rest.s[1] != '!' || !log_level_letter(r->rest.s[0], &level))
			return false;
		reading_level(r, level, 2);
		return true;
	}
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
		if (r->rest.s[0] == signs[i].sign) {
			reading_level(r, signs[i].level, 1);
			return true;
		}
	return false;
}

/* ":INFO:oejs.Server:main: " of Jetty, "::@:[1]:LOG:  " of PostgreSQL at Amazon: behind a time, a colon. */
bool take_colons(struct reading *r)
{
	struct text t = r->rest;
	const char *bracket;
	enum log_level level;
	size_t from = 1, w;

	if (r->found->leveled || !r->found->timed || text_first(t) != ':')
		return false;
	bracket = memmem(t.s, t.len < NAME_MAX_BYTES ? t.len : NAME_MAX_BYTES, "]:", 2);
	if (bracket)
		from = (size_t)(bracket + 2 - t.s);
	w = word_length(text_after(t, from));
	if (w == 0 || from + w >= t.len || t.s[from + w] != ':' || !is_upper_text((struct text){ t.s + from, w }) ||
	    !log_level_word((struct text){ t.s + from, w }, &level, NULL))
		return false;
	reading_level(r, level, from + w);
	if (!bracket) {                 /* the name, up to the colon before a space */
		size_t n = 1;

		while (n < r->rest.len && !is_blank(r->rest.s[n]))
			n++;
		if (n > 2 && n < r->rest.len && r->rest.s[n - 1] == ':') {
			reading_logger(r, (struct text){ r->rest.s + 1, n - 2 });
			r->rest = text_after(r->rest, n);
		}
	}
	return true;
}

/* "=INFO REPORT==== 30-Nov-2026::12:00:01 ===" of Erlang. */
bool take_report(struct reading *r)
{
	struct text t = r->rest;
	enum log_level level;
	size_t w;

	if (t.s != r->begin || text_first(t) != '=')
		return false;
	w = word_length(text_after(t, 1));
	if (!text_begins(text_after(t, 1 + w), " REPORT==== ") || !log_level_word((struct text){ t.s + 1, w }, &level, NULL))
		return false;
	reading_level(r, level, 1 + w + strlen(" REPORT==== "));
	return true;
}

/* "main.go:6" behind a time or a level: a place in the source. */
bool take_caller(struct reading *r)
{
	struct text t = r->rest;
	size_t n = text_span(t, is_name), colon = 0;

	if (!r->found->timed && !r->found->leveled)
		return false;
	while (n > 0 && t.s[n - 1] == ':')
		n--;
	for (size_t i = 1; i < n; i++)
		if (t.s[i] == ':')
			colon = i;
	if (colon == 0 || colon + 1 == n || !memchr(t.s, '.', colon) || text_span(text_after(t, colon + 1), is_digit) != n - colon - 1)
		return false;
	if (n < t.len && !strchr(" \t]:", t.s[n]))
		return false;
	/* An address and its port is no place. */
	if (text_span((struct text){ t.s, colon }, is_digit) > 0 && is_digit(t.s[colon - 1]))
		return false;
	reading_add(r, "caller", (struct text){ t.s, n });
	r->rest = text_after(t, n + (n < t.len && t.s[n] == ']'));
	return true;
}

/* A number by itself: a process, or what comes first is the process and what follows the thread. */
bool take_number(struct reading *r)
{
	size_t n = text_span(r->rest, is_digit), more;
	struct text t = r->rest;

	if (n == 0 || n > 10 || n == t.len)
		return false;
	if (t.s[n] == '#') {            /* nginx: "5590#5590:" */
		more = text_span(text_after(t, n + 1), is_digit);
		if (more == 0 || n + 1 + more >= t.len || t.s[n + 1 + more] != ':')
			return false;
		reading_add(r, "pid", (struct text){ t.s, n });
		reading_add(r, "tid", (struct text){ t.s + n + 1, more });
		r->rest = text_after(t, n + more + 2);
		return true;
	}
	if (t.s[n] != ' ' || (!r->found->timed && !r->found->leveled && r->names == 0 && t.s != r->begin))
		return false;
	/* Behind a time, a sentence may begin with a number. */
	if (r->found->timed && !r->found->leveled) {
		struct reading ahead = *r;

		ahead.rest = text_trim(text_after(t, n));
		if (!is_digit(text_first(ahead.rest)) && text_first(ahead.rest) != '[' && text_first(ahead.rest) != '-') {
			enum log_level level;
			size_t w = word_length(ahead.rest);

			if (!log_level_word((struct text){ ahead.rest.s, w }, &level, NULL) && w != 1)
				return false;
		}
	} else if (r->found->leveled && !text_begins(text_after(t, n), " ---")) {
		struct reading ahead = *r;      /* glog: a place follows */
		struct log_text nowhere = *r->found;

		ahead.found = &nowhere;
		ahead.rest = text_trim(text_after(t, n));
		if (!take_caller(&ahead))
			return false;
	}
	reading_add(r, r->found->n > 0 ? "tid" : "pid", (struct text){ t.s, n });
	r->rest = text_after(t, n);
	return true;
}
