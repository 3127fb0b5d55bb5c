#include "log_reading.h"

#include <string.h>

#include "log_level.h"

/* "Shop.Billing[0]" at the end of the line, or before a blank: .NET's category and event. */
static size_t category_length(struct text t)
{
	size_t n = text_span(t, is_name),
	       digits = n + 1 < t.len ? text_span(text_after(t, n + 1), is_digit) : 0;

	if (n == 0 || digits == 0 || t.s[n] != '[' || n + 1 + digits >= t.len || t.s[n + 1 + digits] != ']')
		return 0;
	n += digits + 2;
	return n == t.len || t.s[n] == ' ' ? n : 0;
}

bool take_category(struct reading *r)
{
	size_t n, name;

	if (!r->level_end || *r->level_end != ':' || r->named)
		return false;
	n = category_length(r->rest);
	if (n == 0)
		return false;
	name = text_span(r->rest, is_name);
	reading_logger(r, (struct text){ r->rest.s, name });
	reading_add(r, "event_id", (struct text){ r->rest.s + name + 1, n - name - 2 });
	r->rest = text_after(r->rest, n);
	return true;
}

/* The length of "0:00:00.868050000", a time since the start; 0: it is none. */
static size_t since_start_length(struct text t)
{
	enum { FRACTION = 9 };
	size_t hours = text_span(t, is_digit);
	struct text rest = text_after(t, hours);

	if (hours == 0 || rest.len < 8 + FRACTION || rest.s[0] != ':' || rest.s[3] != ':' ||
	    rest.s[6] != '.' || rest.s[7 + FRACTION] != ' ' ||
	    text_span(text_after(rest, 7), is_digit) != FRACTION)
		return 0;
	return hours + 7 + FRACTION;
}

static bool is_hex(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') || c == 'x';
}

/* A level of GStreamer that is nobody else's word. */
static bool gstreamer_level(struct text word, enum log_level *ret)
{
	static const struct {
		const char *word;
		enum log_level level;
	} words[] = { { "FIXME", LEVEL_INFO }, { "LOG", LEVEL_TRACE }, { "MEMDUMP", LEVEL_TRACE } };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (text_eq(word, text_of(words[i].word))) {
			*ret = words[i].level;
			return true;
		}
	return log_level_word(word, ret, NULL);
}

/* "0:00:00.868050000  1592 0x5581c0e0 WARN   filesrc " of GStreamer: a time since the start, process, thread,
 * level and category. A place follows. */
bool take_gstreamer(struct reading *r)
{
	struct text t = r->rest, column[4];
	enum log_level level;
	size_t n = since_start_length(t);

	if (n == 0 || t.s != r->begin)
		return false;
	reading_add(r, "uptime", (struct text){ t.s, n });
	t = text_after(t, n);
	for (int i = 0; i < 4; i++) {   /* process, thread, level, category */
		t = text_after(t, text_span(t, is_blank));
		for (n = 0; n < t.len && !is_blank(t.s[n]);)
			n++;
		column[i] = (struct text){ t.s, n };
		t = text_after(t, n);
	}
	if (text_span(column[0], is_digit) != column[0].len ||
	    text_span(column[1], is_hex) != column[1].len ||
	    !gstreamer_level(column[2], &level) || column[3].len == 0)
		return false;
	reading_add(r, "pid", column[0]);
	reading_add(r, "tid", column[1]);
	reading_logger(r, column[3]);
	r->rest = t;
	reading_level(r, level, 0);
	return true;
}

/* "npm ERR! ", "(node:4711) DeprecationWarning: ": programs that say it in a way of their own. */
bool take_known_program(struct reading *r)
{
	static const struct {
		const char *word;
		enum log_level level;
	} words[] = {
		{ "ERR! ", LEVEL_ERROR },   { "error ", LEVEL_ERROR }, { "WARN ", LEVEL_WARNING },
		{ "warn ", LEVEL_WARNING }, { "notice ", LEVEL_INFO }, { "info ", LEVEL_INFO },
		{ "http ", LEVEL_INFO },    { "verb ", LEVEL_DEBUG },  { "sill ", LEVEL_TRACE },
	};
	struct text t = r->rest;
	enum log_level level;
	size_t n;

	if (r->found->timed && !r->found->leveled && text_begins(t, "LOG") && t.len > 5 && t.s[4] == '[' &&
	    log_level_priority((struct text){ t.s + 3, is_digit(t.s[3]) }, &level)) {
		reading_level(r, level, 4);     /* stunnel: "LOG3[main]: ", a severity of syslog */
		return true;
	}
	if (t.s != r->begin || r->found->leveled)
		return false;
	for (size_t i = 0; i < sizeof words / sizeof *words && text_begins(t, "npm "); i++)
		if (text_begins(text_after(t, 4), words[i].word)) {
			reading_logger(r, (struct text){ t.s, 3 });
			reading_level(r, words[i].level, 4 + strlen(words[i].word));
			return true;
		}
	if (text_begins(t, "fail: ") && category_length(text_after(t, 6)) > 0) {
		reading_level(r, LEVEL_ERROR, 4);
		return true;
	}
	n = text_begins(t, "(node:") ? text_span(text_after(t, 6), is_digit) : 0;
	if (n == 0 || !text_begins(text_after(t, 6 + n), ") ") ||
	    !memmem(t.s, t.len, "Warning: ", strlen("Warning: ")))
		return false;
	reading_add(r, "pid", (struct text){ t.s + 6, n });
	reading_level(r, LEVEL_WARNING, 8 + n);
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
		return framed || (!r->indented && rest.len > 1 &&
				  (is_blank(rest.s[1]) || is_upper_text(word)) && rest.s[1] != '/');
	if (strchr("]|>)", c))
		return framed || c == '>' || c == '|';
	if (c == '\t')
		return true;
	if (c == '[')   /* "INFO[0001] " of logrus */
		return is_upper_text(word) && rest.len > 1 && is_digit(rest.s[1]);
	if (c == '/' || c == ',' || c == '*')
		return framed;
	if (c == '!')   /* Ansible: "ERROR! the playbook" */
		return is_upper_text(word) && rest.len > 1 && rest.s[1] == ' ';
	if (c != ' ')
		return false;
	if (rest.len > 1 && (is_blank(rest.s[1]) || strchr("|[-*", rest.s[1])))
		return framed || is_upper_text(word);
	if (rest.len > 1 && rest.s[1] == '=')   /* "ERROR = 4" of a program */
		return framed;
	/* One space, then a word: prose, unless it is written as only levels are. */
	if (is_upper_text(word))
		return kind == LEVEL_PLAIN || (framed && kind != LEVEL_FRAMED);
	return r->found->timed && kind == LEVEL_PLAIN && is_lower_text(word);
}

bool take_level(struct reading *r)
{
	size_t n;
	struct text word;
	enum log_level_kind kind;
	enum log_level level;

	if (r->found->leveled && !r->lettered)          /* Ruby writes the letter and the word */
		return false;
	n = word_length(r->rest);
	word = (struct text){ r->rest.s, n };
	if (n == 0 || !log_level_word(word, &level, &kind) ||
	    !ends_level(r, text_after(r->rest, n), word, kind))
		return false;
	r->lettered = false;
	reading_level(r, level, n);
	if (!r->in_group && r->rest.len > 1 &&
	    strchr("/!", r->rest.s[0])) /* Icinga: "critical/ApiListener: " */
		r->rest = text_after(r->rest, 1);
	return true;
}

/* "ActivityManager( 1234): " behind Android's letter. */
static bool take_tag(struct reading *r)
{
	size_t n = text_span(r->rest, is_name), blanks, digits;
	struct text inside = text_after(r->rest, n < r->rest.len ? n + 1 : n);

	if (n == 0 || n >= r->rest.len || r->rest.s[n] != '(')
		return true;
	blanks = text_span(inside, is_blank);
	digits = text_span(text_after(inside, blanks), is_digit);
	if (digits == 0 || !text_begins(text_after(inside, blanks + digits), "):"))
		return true;
	reading_logger(r, (struct text){ r->rest.s, n });
	reading_add(r, "pid", (struct text){ inside.s + blanks, digits });
	r->rest = text_after(inside, blanks + digits + 2);
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
	if (t.s[1] == ' ' && r->found->timed &&
	    strchr(t.s[2] == '|' ? "CEWNIDTF" : "IWEFD", t.s[0]) && strchr("|[-", t.s[2])) {
		reading_level(r, level, 1);
		return true;
	}
	if ((t.s[1] == ' ' && r->found->timed && r->found->n > 0 && is_word(t.s[2])) ||
	    (t.s[1] == '/' && is_word(t.s[2]) && (r->found->timed || at_begin) && memchr(t.s, ':', t.len))) {
		reading_level(r, level, 2);
		return take_tag(r);
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

/* The sign of Redis behind its time: ". - * #". "I! " of Telegraf. */
bool take_sign(struct reading *r)
{
	static const struct { char sign; enum log_level level; } signs[] = {
		{ '.', LEVEL_DEBUG }, { '-', LEVEL_DEBUG }, { '*', LEVEL_INFO }, { '#', LEVEL_WARNING },
	};
	enum log_level level;

	if (r->found->leveled || !r->found->timed || r->rest.len < 3 ||
	    !is_blank(r->rest.s[r->redis ? 1 : 2]))
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
	size_t from = 1, w, gap;

	if (r->found->leveled || !r->found->timed || text_first(t) != ':')
		return false;
	bracket = memmem(t.s, t.len < NAME_MAX_BYTES ? t.len : NAME_MAX_BYTES, "]:", 2);
	if (bracket)
		from = (size_t)(bracket + 2 - t.s);
	w = word_length(text_after(t, from));
	gap = text_span(text_after(t, from + w), is_blank);
	if (w == 0 || from + w + gap >= t.len || t.s[from + w + gap] != ':' ||
	    !is_upper_text((struct text){ t.s + from, w }) ||
	    !log_level_word((struct text){ t.s + from, w }, &level, NULL))
		return false;
	reading_level(r, level, from + w + gap);
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
	static const char mark[] = " REPORT==== ";
	struct text t = r->rest;
	enum log_level level;
	size_t w;

	if (t.s != r->begin || text_first(t) != '=')
		return false;
	w = word_length(text_after(t, 1));
	if (w == 0 || !text_begins(text_after(t, 1 + w), mark))
		return false;
	if (log_level_word((struct text){ t.s + 1, w }, &level, NULL))
		reading_level(r, level, 0);
	else if (text_begins(t, "=CRASH") || text_begins(t, "=SUPERVISOR"))
		reading_level(r, LEVEL_ERROR, 0);
	r->rest = text_after(t, 1 + w + sizeof mark - 1);
	return true;
}

/* "NETWORK  [conn1] " of MongoDB behind its letter, which may have a digit ("D2");
 * "0000001a SystemOut     O " of WebSphere. */
bool take_component(struct reading *r)
{
	static const char letters[] = "FEWAICDO";
	static const enum log_level levels[] = { LEVEL_CRITICAL, LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO,
						 LEVEL_INFO, LEVEL_INFO, LEVEL_DEBUG, LEVEL_INFO };
	enum { HEX = 8 };
	struct text t = r->rest;
	size_t n = 0, gap;

	if (!r->found->timed || r->found->leveled || r->named)
		return false;
	if (t.len > 4 && strchr("IWEFD", t.s[0]) && is_blank(t.s[1 + is_digit(t.s[1])])) {
		struct text name = text_trim(text_after(t, 2));

		n = text_first(name) == '-' ? 1 : word_length(name);
		gap = text_span(text_after(name, n), is_blank);
		if (n == 0 || gap == 0 || !is_upper_text((struct text){ name.s, n }) || n + gap >= name.len ||
		    name.s[n + gap] != '[' || !log_level_letter(t.s[0], &r->found->level))
			return false;
		r->rest = text_after(name, n);
		reading_level(r, r->found->level, 0);
		while (is_blank(text_first(r->rest)))
			r->rest = text_after(r->rest, 1);
		take_group(r);
		if (name.s[0] != '-')
			reading_logger(r, (struct text){ name.s, n });
		return true;
	}
	while (n < t.len && n < HEX && (is_digit(t.s[n]) || (t.s[n] >= 'a' && t.s[n] <= 'f')))
		n++;
	if (n != HEX || n >= t.len || t.s[n] != ' ')
		return false;
	t = text_after(t, n + 1);
	n = text_span(t, is_name);
	gap = text_span(text_after(t, n), is_blank);
	if (n == 0 || gap == 0 || n + gap + 1 >= t.len || t.s[n + gap + 1] != ' ' || !is_upper(t.s[n + gap]))
		return false;
	reading_add(r, "thread", (struct text){ r->rest.s, HEX });
	reading_logger(r, (struct text){ t.s, n });
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		if (letters[i] == t.s[n + gap])
			reading_level(r, levels[i], 0);
	r->rest = text_after(t, n + gap + 1);
	return true;
}
