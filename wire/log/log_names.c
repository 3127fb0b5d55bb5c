#include "log_reading.h"

#include <string.h>

#include "log_level.h"

/* "app.ERROR:" of Monolog. */
bool take_channel_and_level(struct reading *r)
{
	size_t n = 0, dot = 0, from;
	enum log_level level;

	if (r->found->leveled || !r->found->timed)
		return false;
	for (; n < r->rest.len && (is_word(r->rest.s[n]) || r->rest.s[n] == '.' || r->rest.s[n] == '-'); n++)
		if (r->rest.s[n] == '.')
			dot = n;
	from = dot + 1;
	if (dot == 0 || n == r->rest.len || r->rest.s[n] != ':' || !is_upper_text((struct text){ r->rest.s + from, n - from }) ||
	    !log_level_word((struct text){ r->rest.s + from, n - from }, &level, NULL))
		return false;
	reading_logger(r, (struct text){ r->rest.s, dot });
	reading_level(r, level, n);
	return true;
}

/* A name and a level where neither brackets nor a time frame them: "root - WARNING - text" at the very
 * beginning, "client: info: text" behind a time, "postgres@db ERROR:  text", "id<tab>ERROR<tab>text". */
bool take_name_and_level(struct reading *r)
{
	struct text t = r->rest, word;
	size_t n = 0, from, w;
	enum log_level level;

	if (r->found->leveled || r->named || !(r->found->timed || t.s == r->begin))
		return false;
	while (n < t.len && (is_word(t.s[n]) || strchr("._-@/", t.s[n])))
		n++;
	if (n == 0 || n + 4 > t.len || n > NAME_MAX_BYTES)
		return false;
	from = n;
	if (text_begins(text_after(t, n), " - "))
		from += 3;
	else if (r->found->timed && (text_begins(text_after(t, n), ": ") || (memchr(t.s, '@', n) && t.s[n] == ' ')))
		from += t.s[n] == ':' ? 2 : 1;
	else if (r->found->timed && t.s[n] == '\t')
		from += 1;
	else
		return false;
	w = word_length(text_after(t, from));
	word = (struct text){ t.s + from, w };
	if (w == 0 || from + w >= t.len || !log_level_word(word, &level, NULL) ||
	    !(t.s[from + w] == t.s[n] || t.s[from + w] == ':') || (t.s == r->begin && !is_upper_text(word)))
		return false;
	reading_logger(r, (struct text){ t.s, n });
	reading_level(r, level, from + w);
	return true;
}

/* "web1 shop[4711]:" behind the times of syslog: host and program, or the program alone. */
bool take_program(struct reading *r)
{
	struct text t = r->rest, ident, pid = { NULL, 0 }, host = { NULL, 0 };
	size_t n;

	if (!r->found->timed || r->named || r->in_group || (r->found->leveled && *r->begin != '<'))
		return false;
	for (int words = 0; words < 2; words++) {
		n = 0;
		while (n < t.len && !is_blank(t.s[n]) && t.s[n] != '[' && t.s[n] != ':')
			n++;
		ident = (struct text){ t.s, n };
		if (n == 0 || n > NAME_MAX_BYTES || n == t.len)
			return false;
		if (t.s[n] == ' ' && text_span(text_after(t, n), is_blank) + n < t.len && t.s[n + text_span(text_after(t, n), is_blank)] == '[' &&
		    !r->syslog)
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

/* RFC 5424: "web1 shop 7695 - - ", with structured data in place of the last sign or not. */
bool take_header_5424(struct reading *r)
{
	static const char *const names[] = { "host", NULL, "pid", "msgid" };
	struct text t = text_trim(r->rest), field[4];

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
	while (text_first(t) == '[') {
		const char *end = memchr(t.s, ']', t.len);

		if (!end)
			return false;
		reading_add(r, "data", (struct text){ t.s, (size_t)(end + 1 - t.s) });
		t = text_after(t, (size_t)(end + 1 - t.s));
	}
	r->rest = text_first(t) == '-' ? text_after(t, 1) : t;
	return true;
}

/* A name that a " - ", a ": " or " : " separates from the message. */
bool take_logger(struct reading *r)
{
	struct text t = r->rest;
	size_t n = text_span(t, is_name), gap;
	bool signs;

	if (r->named || n == 0 || n > NAME_MAX_BYTES || !(is_letter(t.s[0]) || t.s[0] == '_'))
		return false;
	if (!r->found->timed && !r->found->leveled)
		return false;
	gap = text_span(text_after(t, n), is_blank);
	if (n + gap == t.len)
		return false;
	signs = memchr(t.s, '.', n) || memchr(t.s, ':', n - 1) || memchr(t.s, '_', n);
	if (t.s[n - 1] == ':' && gap > 0) {             /* "shop.billing: " */
		if (!r->found->leveled || (!r->found->timed && !signs) || (r->names > 0 && !signs))
			return false;
		reading_logger(r, (struct text){ t.s, n });
		r->rest = text_after(t, n);
		return true;
	}
	if (t.s[n + gap] == ':' && gap > 0 && r->found->leveled) {      /* "shop.Billing      : " */
		reading_logger(r, (struct text){ t.s, n });
		r->rest = text_after(t, n + gap + 1);
		return true;
	}
	if (gap > 0 && t.s[n + gap] == '-' && n + gap + 1 < t.len && is_blank(t.s[n + gap + 1])) { /* "shop.Billing - " */
		reading_logger(r, (struct text){ t.s, n });
		r->rest = text_after(t, n + gap + 1);
		return true;
	}
	if (t.s[n] == '\t' || (t.s[n] == '|' && gap == 0) || (t.s[n + gap] == '|' && gap > 0)) {
		reading_logger(r, (struct text){ t.s, n });
		r->rest = text_after(t, n);
		return true;
	}
	return false;
}

/* "DEBUG:shop.billing:cache warmed" of Python, behind a level at the very beginning. */
bool take_python_name(struct reading *r)
{
	struct text t = r->rest;
	size_t n = 0;

	if (!r->found->leveled || r->found->timed || r->named || t.len < 2 || t.s[0] != ':' || is_blank(t.s[1]))
		return false;
	for (n = 1; n < t.len && t.s[n] != ':' && (is_name(t.s[n]));)
		n++;
	if (n == 1 || n == t.len || t.s[n] != ':')
		return false;
	reading_logger(r, (struct text){ t.s + 1, n - 1 });
	r->rest = text_after(t, n + 1);
	return true;
}
