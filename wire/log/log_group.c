#include "log_reading.h"

#include <string.h>

#include "log_level.h"

enum { GROUP_MAX = 200, EPOCH_DIGITS = 10, EPOCH_MS_DIGITS = 13 };

static bool has(const struct reading *r, struct text name)
{
	for (unsigned i = 0; i < r->found->n; i++)
		if (text_eq(r->found->field[i].name, name))
			return true;
	return false;
}

/* "12.345678" */
static bool is_fraction(struct text t)
{
	size_t n = text_span(t, is_digit);

	return n > 0 && n + 1 < t.len && t.s[n] == '.' &&
	       text_span(text_after(t, n + 1), is_digit) == t.len - n - 1;
}

static bool is_digit_or_point(char c)
{
	return is_digit(c) || c == '.';
}

/* "12345": a process, then a thread; right behind a level, logrus' seconds since the start. */
static void number_in_group(struct reading *r, struct text t)
{
	reading_add(r,
		    r->where == GLUED_TO_LEVEL && !r->found->timed ? "elapsed"
		    : has(r, TEXT("pid"))                          ? "tid"
								   : "pid",
		    t);
}

/* "id=42", "timeMillis: 1796040000123", "trace=a span=b". */
static bool pairs_in_group(struct reading *r, struct text t)
{
	size_t n = word_length(t);

	if (n > 1 && n + 2 < t.len && t.s[n] == ':' && t.s[n + 1] == ' ') {
		log_text_add(r->found, (struct text){ t.s, n }, text_after(t, n + 2));
		return true;
	}
	if (n == 0 || n + 1 >= t.len || t.s[n] != '=')
		return false;
	while (t.len > 0) {
		size_t end = 0;

		n = word_length(t);
		while (end < t.len && t.s[end] != ' ' && t.s[end] != ',')
			end++;
		if (n > 0 && n < end && t.s[n] == '=')
			log_text_add(r->found, (struct text){ t.s, n },
				     (struct text){ t.s + n + 1, end - n - 1 });
		t = text_after(t, end < t.len ? end + 1 : end);
	}
	return true;
}

/* ZooKeeper: "main:o.a.z.s.ZooKeeperServer@160": a thread, a logger, a line. */
static bool thread_and_logger(struct reading *r, struct text t)
{
	size_t at = t.len, colon = 0;

	while (at > 0 && is_digit(t.s[at - 1]))
		at--;
	if (at < 2 || at == t.len || t.s[at - 1] != '@')
		return false;
	for (size_t i = 1; i < at; i++)
		if (t.s[i] == ':')
			colon = i;
	if (colon == 0)
		return false;
	reading_add(r, "thread", (struct text){ t.s, colon });
	reading_logger(r, (struct text){ t.s + colon + 1, at - 2 - colon });
	return true;
}

/* "pid 5603:tid 5603", "client 192.0.2.1:5", "#30088", "0x7f", "4711:main", "12345", "worker-1". */
static void name_in_group(struct reading *r, struct text t, char bracket)
{
	size_t digits;

	t = text_trim(t);
	digits = text_span(t, is_digit);
	if (t.len == 0 || text_eq(t, TEXT("-")) || text_eq(t, TEXT("(null)")) || text_eq(t, TEXT("(null")))
		return;
	if (text_begins(t, "pid ") || text_begins(t, "pid:")) {
		size_t n = text_span(text_after(t, 4), is_digit);

		reading_add(r, "pid", (struct text){ t.s + 4, n });
		if (text_begins(text_after(t, 4 + n), ":tid "))
			reading_add(r, "tid", text_after(t, n + 9));
	} else if (text_begins(t, "client ")) {
		reading_add(r, "client", text_after(t, 7));
	} else if (text_first(t) == '#') {
		reading_add(r, "pid", text_after(t, 1));
	} else if (digits == t.len) {
		number_in_group(r, t);
	} else if (bracket == '<') {
		reading_add(r, "process", t);
	} else if (is_fraction(t)) {
		reading_add(r, "uptime", t);
	} else if (digits > 0 && t.s[digits] == ':' && is_letter(t.s[digits + 1])) {
		reading_add(r, "pid", (struct text){ t.s, digits });
		reading_add(r, "thread", text_after(t, digits + 1));
	} else if (text_begins(t, "0x")) {
		reading_add(r, "thread", t);
	} else if (place_length(t) == t.len) {
		reading_add(r, "caller", t);
	} else if (!pairs_in_group(r, t) && !thread_and_logger(r, t) && r->names < NAMES_MAX) {
		r->name[r->names++] = (struct bracketed){ t, rank_of(r, t, bracket) };
	}
}

/* The level behind "mpm_event:", "proxy:" and "twisted.internet#", before "/MainProcess". */
static bool split_level(struct reading *r, struct text t)
{
	enum log_level level;

	for (size_t i = 1; i + 1 < t.len; i++) {
		struct text before = { t.s, i }, behind = text_after(t, i + 1), name;

		if (t.s[i] != ':' && t.s[i] != '/' && t.s[i] != '#')
			continue;
		if (log_level_word(behind, &level, NULL))
			name = before;
		else if (log_level_word(before, &level, NULL) && is_upper_text(before))
			name = behind;
		else
			continue;
		name_in_group(r, name, '[');
		r->found->leveled = true;
		r->found->level = level;
		return true;
	}
	return false;
}

/* "W" and Xorg's "(WW)" behind a time. */
static bool letter_in_group(struct reading *r, struct text t)
{
	enum log_level level;

	if (t.len == 0 || t.len > 2 || (t.len == 2 && t.s[0] != t.s[1]) ||
	    (!r->found->timed && r->found->n == 0) || !strchr("IWEFDVTCN", t.s[0]) ||
	    !log_level_letter(t.s[0], &level))
		return false;
	r->found->leveled = true;
	r->found->level = level;
	return true;
}

/* "1796040000", "1796040000.123456789, 12.3": seconds since 1970. */
static bool epoch_in_group(struct reading *r)
{
	size_t digits = text_span(r->rest, is_digit), n = text_span(r->rest, is_digit_or_point);

	if (r->found->timed || (digits != EPOCH_DIGITS && digits != EPOCH_MS_DIGITS) ||
	    (n < r->rest.len && r->rest.s[n] != ',') ||
	    !log_time_epoch(r->clock, (struct text){ r->rest.s, n }, &r->found->us))
		return false;
	r->found->timed = true;
	r->found->time = (struct text){ r->rest.s, n };
	r->rest = (struct text){ r->rest.s + r->rest.len, 0 };
	return true;
}

/* "4711:" in front of Chromium's time. */
static bool number_and_colon(struct reading *r)
{
	size_t n = text_span(r->rest, is_digit);

	if (r->found->timed || n == 0 || n + 1 >= r->rest.len || r->rest.s[n] != ':' ||
	    !is_digit(r->rest.s[n + 1]))
		return false;
	number_in_group(r, (struct text){ r->rest.s, n });
	r->rest = text_after(r->rest, n);
	return true;
}

/* "W shop.db" behind a time. */
static bool letter_and_name(struct reading *r)
{
	enum log_level level;

	if (!r->found->timed || r->found->leveled || r->rest.len < 3 || r->rest.s[1] != ' ' ||
	    !log_level_letter(r->rest.s[0], &level))
		return false;
	reading_level(r, level, 2);
	return true;
}

/* "ns_server:error,2026-11-30T12:00:01.123Z,": Couchbase's component, level and time. */
static bool component_level_and_time(const struct reading *r, struct text t, size_t *ret_name,
				     enum log_level *ret)
{
	size_t name = text_span(t, is_word);
	size_t word = name + 1 < t.len ? word_length(text_after(t, name + 1)) : 0, comma = name + 1 + word;
	struct log_time time;

	*ret_name = name;
	return name > 0 && word > 0 && t.s[name] == ':' && comma + 1 < t.len && t.s[comma] == ',' &&
	       log_level_word((struct text){ t.s + name + 1, word }, ret, NULL) &&
	       log_time_begins(r->clock, text_after(t, comma + 1), &time) && time.dated;
}

static void take_component_in_group(struct reading *r)
{
	struct text t = r->rest;
	enum log_level level;
	size_t name;

	if (r->found->leveled || r->found->timed || !component_level_and_time(r, t, &name, &level))
		return;
	reading_logger(r, (struct text){ t.s, name });
	reading_level(r, level, name + 1);
	r->rest = text_after(r->rest, word_length(r->rest) + 1);
}

/* Where the group stands. */
static enum group_place place_of(const struct reading *r)
{
	const char *end = r->level_end;

	if (!end || end > r->rest.s)
		return ELSEWHERE;
	if (end == r->rest.s)
		return GLUED_TO_LEVEL;
	return text_trim((struct text){ end, (size_t)(r->rest.s - end) }).len == 0 ? BEHIND_LEVEL : ELSEWHERE;
}

static void read_group(struct reading *r, struct text inside, char bracket)
{
	struct reading in = *r;
	enum log_level level;

	in.rest = text_trim(inside);
	in.in_group = true;
	in.where = place_of(r);
	in.begin = NULL;
	in.syslog = false;
	if (!in.found->leveled && (log_level_word(in.rest, &level, NULL) || letter_in_group(&in, in.rest))) {
		if (!in.found->leveled)
			in.found->level = level;
		in.found->leveled = true;
		in.rest.len = 0;
	} else if (!in.found->leveled && in.rest.len > 3 && in.rest.s[1] == ' ' && is_digit(in.rest.s[2]) &&
	    log_level_letter(in.rest.s[0], &level)) {       /* "[W 2026-11-30 12:00:01 App]" */
		struct log_time time;

		if (log_time_begins(in.clock, text_after(in.rest, 2), &time))
			reading_level(&in, level, 2);
	}
	take_component_in_group(&in);
	while (take_time(&in) || epoch_in_group(&in) || (in.found->timed && take_level(&in)) ||
	       letter_and_name(&in) || number_and_colon(&in)) {
		size_t digits;

		reading_skip_signs(&in);
		while (text_first(in.rest) && strchr(":,/", text_first(in.rest)))
			in.rest = text_trim(text_after(in.rest, 1));
		digits = text_span(in.rest, is_digit);
		if (digits > 0 && digits == in.rest.len && in.rest.s[-1] == ' ' &&
		    memchr(inside.s, ',', inside.len)) {
			reading_add(&in, "debug_level", in.rest); /* Samba: "[2026/11/30 12:00:01,  0]" */
			in.rest.len = 0;
		}
	}
	in.rest = text_trim(in.rest);
	if (in.rest.len > 0 && !(!in.found->leveled && split_level(&in, in.rest)))
		name_in_group(&in, in.rest, bracket);
	r->names = in.names;
	r->named = in.named;
	memcpy(r->name, in.name, sizeof in.name);
}

/* Is what stands between angles a level, or an Erlang process? All else belongs to the message. */
static bool angles_count(const struct reading *r, struct text inside)
{
	enum log_level level;

	return r->found->timed &&
	       ((!r->found->leveled && log_level_word(inside, &level, NULL)) ||
		(is_digit(text_first(inside)) && text_span(inside, is_digit_or_point) == inside.len));
}

/* Is it a group, and not the message's own? */
static bool counts(const struct reading *r, char bracket, struct text inside)
{
	const char *end = inside.s + inside.len;
	enum log_level level;
	size_t name;

	if (text_first(inside) == '"' || (bracket == '(' && !r->found->leveled && r->rest.s == r->begin))
		return false;
	if (bracket == '<' && !angles_count(r, inside))
		return false;
	/* Airflow's place; any other braces are an object. */
	if (bracket == '{' && !memmem(inside.s, inside.len, ".py:", 4))
		return false;
	/* Glued to a word, brackets belong to the message, unless a time or a number is in them. */
	if (end + 1 < r->rest.s + r->rest.len && is_word(end[1]) &&
	    !is_digit(text_first(text_trim(inside))) &&
	    !component_level_and_time(r, inside, &name, &level))
		return false;
	/* Behind a logger as well, unless a place is in them. */
	return !(r->named && r->found->leveled) || place_length(inside) == inside.len;
}

/* What closes the bracket with which `t` begins: "[QuorumPeer[myid=1]:o.a.z.X@584]" has others within. */
static const char *end_of_group(struct text t, char open, char close)
{
	const char *first;
	size_t depth = 0;

	if (t.len > GROUP_MAX)
		t.len = GROUP_MAX;
	first = memchr(t.s, close, t.len);
	if (!first || !memchr(t.s + 1, open, (size_t)(first - t.s) - 1))
		return first;
	for (size_t i = 0; i < t.len; i++) {
		depth += t.s[i] == open;
		if (t.s[i] == close && --depth == 0)
			return t.s + i;
	}
	return first;
}

bool take_group(struct reading *r)
{
	static const char pairs[][2] = { { '[', ']' }, { '(', ')' }, { '{', '}' }, { '<', '>' } };
	struct text inside;
	const char *end;

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		bool leveled = r->found->leveled;

		if (text_first(r->rest) != pairs[i][0])
			continue;
		end = end_of_group(r->rest, pairs[i][0], pairs[i][1]);
		if (!end)
			return false;
		inside = (struct text){ r->rest.s + 1, (size_t)(end - r->rest.s) - 1 };
		/* "[2026-11-30][12:00:00]": the time reaches over the bracket. */
		if (pairs[i][1] == ']' && is_digit(text_first(inside)) && !r->found->timed) {
			struct log_time time;
			struct text more = text_after(r->rest, 1);

			if (log_time_begins(r->clock, more, &time) && time.len > inside.len &&
			    time.len < more.len && more.s[time.len] == ']') {
				inside.len = time.len;
				end = more.s + time.len;
			}
		}
		if (!counts(r, pairs[i][0], inside))
			return false;
		read_group(r, inside, pairs[i][0]);
		r->rest = text_after(r->rest, (size_t)(end + 1 - r->rest.s));
		if (!leveled && r->found->leveled)
			r->level_end = r->rest.s;
		return true;
	}
	return false;
}
