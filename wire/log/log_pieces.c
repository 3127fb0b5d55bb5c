#include "log_reading.h"

#include <string.h>

#include "log_level.h"

/* "1796020200.123 ", "1796020200: ", "1796020200123 ": time since 1970, as the first word. */
bool take_epoch(struct reading *r)
{
	enum { SECONDS = 10, MILLISECONDS = 13, FRACTION_MAX = 9 };
	struct text t = r->rest;
	size_t n, fraction = 0;
	int64_t us;

	if (t.s != r->begin || r->found->timed)
		return false;
	n = text_span(t, is_digit);
	if ((n != SECONDS && n != MILLISECONDS) || n + 1 >= t.len)
		return false;
	if (n == SECONDS && t.s[n] == '.')
		fraction = text_span(text_after(t, n + 1), is_digit);
	t.len = fraction > 0 && fraction <= FRACTION_MAX ? n + 1 + fraction : n;
	if (t.len + 1 >= r->rest.len || !strchr(t.len == SECONDS ? ":" : ": \t", t.s[t.len]) ||
	    !log_time_epoch(r->clock, t, &us))
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

	if (r->found->timed || r->rest.len == 0 || !(is_digit(r->rest.s[0]) || is_letter(r->rest.s[0])) ||
	    !log_time_begins(r->clock, r->rest, &t))
		return false;
	r->found->timed = true;
	r->found->us = t.us;
	r->found->dated = t.dated;
	r->found->time = (struct text){ r->rest.s, t.len };
	r->syslog |= is_letter(text_first(r->rest)) && t.dated;
	/* Redis 2: "[4711] 30 Nov 12:00:01.123 * ready". */
	r->redis |= r->found->n == 1 && !r->in_group && *r->begin == '[' && t.len > 3 &&
		    r->rest.s[2] == ' ' && is_letter(r->rest.s[3]);
	r->rest = text_after(r->rest, t.len);
	return true;
}

/* "1234:M 30 Nov 2026 12:00:01" of Redis, "1234:20261130:120001" of Zabbix: a process, as the first word. */
bool take_process(struct reading *r)
{
	size_t n, role;
	struct log_time time;
	struct text t;

	if (r->rest.s != r->begin)
		return false;
	n = text_span(r->rest, is_digit);
	if (n == 0 || n > 10 || n + 3 >= r->rest.len)
		return false;
	if (r->rest.s[n] == '(') {      /* Kamailio: "12(4711) ERROR: " */
		size_t digits = text_span(text_after(r->rest, n + 1), is_digit);

		t = text_after(r->rest, n + 1 + digits);
		if (digits == 0 || !text_begins(t, ") ") || !is_upper(t.s[t.len > 2 ? 2 : 0]) ||
		    !memchr(t.s, ':', t.len))
			return false;
		reading_add(r, "pid", (struct text){ r->rest.s + n + 1, digits });
		r->rest = text_after(t, 2);
		return true;
	}
	if (r->rest.s[n] != ':')
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

static bool is_path(char c)
{
	switch (c) {
	case '.':
	case '/':
	case '\\':
	case '@':
	case '$':
	case '<':
	case '>':
	case '~':
	case '+':
	case '-': return true;
	default: return is_word(c);
	}
}

static bool is_source(struct text ending)
{
	static const char *const endings[] = {
		"go",  "py", "js",    "ts", "mjs",  "cjs", "jsx", "tsx", "java", "kt",  "scala", "groovy",
		"clj", "rb", "php",   "rs", "c",    "cc",  "cpp", "cxx", "h",    "hh",  "hpp",   "inl",
		"m",   "mm", "swift", "cs", "fs",   "vb",  "ex",  "exs", "erl",  "hs",  "ml",    "lua",
		"pl",  "pm", "r",     "jl", "dart", "pas", "d",   "nim", "zig",  "vue", NULL,
	};

	for (const char *const *s = endings; *s; s++)
		if (text_eq(ending, text_of(*s)))
			return true;
	return false;
}

size_t place_length(struct text t)
{
	size_t n = 0, dot = 0, end, digits;

	while (n < t.len && is_path(t.s[n])) {
		if (t.s[n] == '.' && !(n + 1 < t.len && t.s[n + 1] == '.'))
			dot = n;
		n++;
	}
	end = dot + 1 + text_span(text_after(t, dot + 1 < t.len ? dot + 1 : t.len), is_word);
	if (dot == 0 || end > n || n + 1 >= t.len || (t.s[n] != ':' && t.s[n] != '(') ||
	    !is_source((struct text){ t.s + dot + 1, end - dot - 1 }))
		return 0;
	digits = text_span(text_after(t, n + 1), is_digit);
	if (digits == 0)
		return 0;
	if (t.s[n] == '(')              /* Chromium: "gpu_init.cc(446)" */
		return n + 1 + digits < t.len && t.s[n + 1 + digits] == ')' ? n + 2 + digits : 0;
	n += 1 + digits;
	if (n + 1 < t.len && t.s[n] == ':' && is_word(t.s[n + 1]))      /* a column, a function */
		return n + 1 + text_span(text_after(t, n + 1), is_word);
	if (n + 1 < t.len && t.s[n] == '(') {                           /* Samba: "server.c:1789(main)" */
		digits = text_span(text_after(t, n + 1), is_word);
		return n + 1 + digits < t.len && t.s[n + 1 + digits] == ')' ? n + 2 + digits : n;
	}
	return n;
}

/* "main.go:6" behind a time or a level: a place in the source. */
bool take_caller(struct reading *r)
{
	struct text t = r->rest;
	size_t n, skip = 0;

	if (!r->found->timed && !r->found->leveled)
		return false;
	n = place_length(t);
	if (n == 0 || (n < t.len && !strchr(" \t]:", t.s[n])))
		return false;
	reading_add(r, "caller", (struct text){ t.s, n });
	while (n + skip < t.len && strchr("]:", t.s[n + skip]))
		skip++;
	r->rest = text_after(t, n + skip);
	return true;
}

/* A number by itself: a process, or what comes first is the process and what follows the thread. */
bool take_number(struct reading *r)
{
	size_t n = text_span(r->rest, is_digit), more;
	struct text t = r->rest;

	if (n == 0 || n > 10 || n == t.len)
		return false;
	if (t.s[n] == '#') {            /* nginx: "5590#5590:", Unit: without the colon */
		more = text_span(text_after(t, n + 1), is_digit);
		if (more == 0 || n + 1 + more >= t.len || !strchr(": ", t.s[n + 1 + more]))
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
		if (!is_digit(text_first(ahead.rest)) && text_first(ahead.rest) != '[' &&
		    text_first(ahead.rest) != '-') {
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

/* "web1 shop[4711]:" behind the times of syslog: host and program, or the program alone. */
bool take_program(struct reading *r)
{
	struct text t = r->rest, ident, pid = { NULL, 0 }, host = { NULL, 0 };
	enum log_level level;
	size_t n;

	if (!r->found->timed || r->named || r->in_group || (r->found->leveled && *r->begin != '<') ||
	    r->names > 0 || r->found->n > 0)
		return false;
	for (int words = 0; words < 2; words++) {
		n = 0;
		while (n < t.len && !is_blank(t.s[n]) && t.s[n] != '[' && t.s[n] != ':')
			n++;
		ident = (struct text){ t.s, n };
		if (n == 0 || n > NAME_MAX_BYTES || n == t.len ||
		    !(is_word(t.s[0]) || strchr("(/.", t.s[0])) || log_level_word(ident, &level, NULL))
			return false;
		if (t.s[n] == ' ' && text_span(text_after(t, n), is_blank) + n < t.len &&
		    t.s[n + text_span(text_after(t, n), is_blank)] == '[' && !r->syslog)
			n += text_span(text_after(t, n), is_blank);          /* fail2ban */
		if (t.s[n] == ' ') {
			host = ident;
			t = text_after(t, n + 1);
			continue;
		}
		if (t.s[n] == '[') {
			size_t digits = text_span(text_after(t, n + 1), is_digit);

			pid = (struct text){ t.s + n + 1, digits };
			n += digits + 2;
			if (n < t.len && t.s[n - 1] == ':')     /* Unbound: and a thread */
				n += text_span(text_after(t, n), is_digit) + 1;
			if (n > t.len || t.s[n - 1] != ']')
				return false;
		}
		if (n < t.len && t.s[n] == ':')
			n++;
		else if (!pid.s)
			return false;
		if ((n < t.len && !is_blank(t.s[n])) || (!r->syslog && pid.len == 0))
			return false;
		reading_add(r, "host", host);
		reading_add(r, "pid", pid);
		reading_logger(r, ident);
		r->rest = text_after(t, n);
		return true;
	}
	return false;
}

/* The length of an element of structured data: '[id name="value"]', where a backslash escapes; 0: none. */
static size_t element_length(struct text t)
{
	bool quoted = false;

	for (size_t n = 1; n < t.len; n++) {
		if (quoted && t.s[n] == '\\')
			n++;
		else if (t.s[n] == '"')
			quoted = !quoted;
		else if (!quoted && t.s[n] == ']')
			return n + 1;
	}
	return 0;
}

/* RFC 5424: "web1 shop 7695 - - ", with structured data in place of the last sign or not. */
bool take_header_5424(struct reading *r)
{
	static const char *const names[] = { "host", NULL, "pid", "msgid" };
	struct text t = text_trim(r->rest), field[4], data = { NULL, 0 };

	if (!r->syslog || !r->found->leveled || !r->found->timed || r->named || is_digit(r->begin[0]) ||
	    !is_digit(text_first(r->found->time)))
		return false;
	for (int i = 0; i < 4; i++) {
		size_t n = 0;

		while (n < t.len && t.s[n] != ' ')
			n++;
		if (n == 0 || n == t.len)
			return false;
		field[i] = (struct text){ t.s, n };
		t = text_after(t, n + 1);
	}
	if (text_first(t) != '-' && text_first(t) != '[')
		return false;
	for (int i = 0; i < 4; i++)
		if (names[i] && !text_eq(field[i], TEXT("-")))
			reading_add(r, names[i], field[i]);
	reading_logger(r, text_eq(field[1], TEXT("-")) ? TEXT("") : field[1]);
	data.s = t.s;
	while (text_first(t) == '[') {
		size_t n = element_length(t);

		if (n == 0)
			return false;
		data.len += n;
		t = text_after(t, n);
	}
	reading_add(r, "data", data);
	r->rest = text_first(t) == '-' ? text_after(t, 1) : t;
	return true;
}
