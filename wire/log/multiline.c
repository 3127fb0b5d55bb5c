#include "multiline.h"

#include <ctype.h>
#include <string.h>

#include "chars.h"
#include "log_fields.h"
#include "log_line.h"
#include "log_plain.h"
#include "log_text.h"
#include "log_trace.h"
#include "log_wrapper.h"

enum {
	HELD_MAX = 8,       /* further lines of an exception's text */
	PREFIX_TELLS = 256, /* so much of an unfinished line tells whether it belongs to the record */
};

void multiline_room_init(struct multiline_room *r)
{
	*r = (struct multiline_room){ .inside = BUF(LINE_BYTES_MAX), .plain = BUF(LINE_BYTES_MAX) };
}

void multiline_room_free(struct multiline_room *r)
{
	buf_free(&r->inside);
	buf_free(&r->plain);
}

/* ---- one line ---- */

struct line {
	struct text text;               /* inside its wrapper */
	enum line_shape shape;
	enum log_trace trace;
	enum log_level level;           /* INFO where it has none */
	bool leveled, blank, indented;
	bool header;                    /* nothing stands behind its time or level: the message follows */
	bool method;                    /* behind its time stand a class and a method: the level follows */
	bool wrapped;                   /* by a container's runtime, ... */
	bool partial;                   /* ... which cut it here */
};

static bool all_blank(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!strchr(" \t\r", t.s[i]))
			return false;
	return true;
}

/* "{...}": an object that ends on the line where it began. A lone brace opens a block of a text. */
static bool is_object(struct text t)
{
	while (t.len > 0 && strchr(" \t\r", t.s[t.len - 1]))
		t.len--;
	while (t.len > 0 && (t.s[0] == ' ' || t.s[0] == '\t'))
		t = (struct text){ t.s + 1, t.len - 1 };
	return t.len >= 2 && t.s[0] == '{' &&
	       (t.s[1] == '"' || t.s[1] == ' ' || t.s[1] == '}' || t.s[1] == '\t');
}

/* An unfinished line that will be an object of its own. */
static bool begins_object(struct text t)
{
	while (t.len > 0 && (t.s[0] == ' ' || t.s[0] == '\t'))
		t = (struct text){ t.s + 1, t.len - 1 };
	return t.len > 1 && t.s[0] == '{' && t.s[1] == '"' && !log_wrapper_likely(t);
}

static bool is_name_of_java(char c)
{
	return is_word(c) || (c && strchr(".$<>", c));
}

static bool has_pairs(struct text t)
{
	size_t n = 0;

	while (n < t.len && (isalnum((unsigned char)t.s[n]) || strchr("_.@-", t.s[n])))
		n++;
	return n > 0 && n + 1 < t.len && t.s[n] == '=' && log_key_find((struct text){ t.s, n }) != NULL;
}

/* "com.example.Shop pay" of java.util.logging; without a package only behind a time of twelve hours. */
static bool is_method(struct text t, struct text time)
{
	size_t class = text_span(t, is_name_of_java), method = 0;

	while (t.len > 0 && strchr(" \t\r", t.s[t.len - 1]))
		t.len--;
	if (class > 0 && class < t.len && t.s[class] == ' ')
		method = text_span(text_after(t, class + 1), is_name_of_java);
	return method > 0 && class + 1 + method == t.len &&
	       (memchr(t.s, '.', class) || (time.len > 0 && (time.s[time.len - 1] | 0x20) == 'm'));
}

/* What the line is. `whole`: its newline is there. */
static void look(struct multiline_room *r, struct text t, bool whole, struct line *ret)
{
	struct log_text found LOG_TEXT_UNSET;
	struct log_wrapper wrapper;

	*ret = (struct line){ .text = t, .level = LEVEL_INFO };
	if (whole && log_wrapper_likely(t) && log_wrapper_open(t, &r->inside, &wrapper)) {
		ret->text = t = wrapper.inside;
		ret->wrapped = true;
		ret->partial = wrapper.partial;
	}
	ret->text = t = log_plain(t, &r->plain);
	if (all_blank(t)) {
		ret->blank = true;
		return;
	}
	ret->indented = t.s[0] == ' ' || t.s[0] == '\t';
	if (is_object(t)) {
		ret->shape = SHAPE_OBJECT;
		return;
	}
	ret->trace = log_trace_begins(t, &ret->level);
	if (ret->trace != TRACE_NONE) {
		ret->shape = SHAPE_CRASH;
		return;
	}
	if (log_memo_read(&r->memo, &r->clock, t, &found)) {
		ret->shape = found.timed ? SHAPE_TIMED : SHAPE_LEVELED;
		ret->leveled = found.leveled;
		ret->level = found.leveled ? found.level : LEVEL_INFO;
		if (ret->shape == SHAPE_LEVELED && ret->indented)
			ret->shape = SHAPE_PLAIN;
		ret->header = found.timed && all_blank(text_after(t, found.prefix));
		ret->method =
			found.timed && !found.leveled && is_method(text_after(t, found.prefix), found.time);
	} else if (has_pairs(t)) {
		ret->shape = SHAPE_PAIRS;
	}
}

/* ---- a record ---- */

struct record {
	const struct multiline *learnt;
	enum line_shape shape;          /* of its first line */
	enum log_level level;
	bool leveled;
	bool header, method;
	bool colon;                     /* its first line ends with one: what it announces follows */
	enum log_trace trace;
	bool python_done;               /* the exception was named */
	bool after_blank;
	unsigned lines;
	bool go_on;                     /* the wrapped line before was cut */
	bool exception;                 /* the last line names one */
	unsigned held;                  /* lines since then that belong if frames follow: its text goes on */
};

static bool is_learnt(const struct multiline *m, enum line_shape shape)
{
	return (shape == SHAPE_TIMED || shape == SHAPE_LEVELED || shape == SHAPE_PAIRS) &&
	       m->begins[shape] > 0 && 2 * m->begins[shape] >= m->records;
}

static bool any_learnt(const struct multiline *m)
{
	return is_learnt(m, SHAPE_TIMED) || is_learnt(m, SHAPE_LEVELED) || is_learnt(m, SHAPE_PAIRS);
}

/* A crash stands by itself, unless it explains the error before it, or follows one of its kind. */
static bool crash_belongs(struct record *r, const struct line *l)
{
	bool chained = r->trace == TRACE_PYTHON && !r->python_done;

	if (l->trace == TRACE_GO && r->trace == TRACE_GO)
		return true;
	if (l->trace == TRACE_PYTHON && (chained || (r->trace != TRACE_PYTHON && r->level >= LEVEL_ERROR))) {
		r->trace = TRACE_PYTHON;
		r->python_done = false;
		return true;
	}
	/* Elixir: the exception stands behind the error that tells whom it befell. */
	if (text_begins(l->text, "** (") && r->level >= LEVEL_ERROR && r->shape != SHAPE_CRASH &&
	    !r->after_blank)
		return true;
	return l->trace == TRACE_OTHER && r->level >= LEVEL_ERROR && r->shape != SHAPE_CRASH &&
	       l->level >= LEVEL_ERROR && l->text.s[0] == ' ';
}

/* A line that begins like records do somewhere: does it here? */
static bool begins_one(const struct record *r, const struct line *l)
{
	if (l->shape == SHAPE_TIMED || l->shape == SHAPE_LEVELED || l->shape == SHAPE_OBJECT)
		return true;
	return l->shape == SHAPE_PAIRS && !is_learnt(r->learnt, SHAPE_TIMED);
}

/* In a trace whose end is known by its form. */
static bool belongs_to_trace(struct record *r, const struct line *l)
{
	if (r->trace == TRACE_GO)
		return l->indented || log_trace_is_go(l->text);
	if (r->trace == TRACE_PYTHON && !r->python_done && !r->after_blank) {
		r->python_done = !l->indented;  /* the line that names the exception is the last */
		return true;
	}
	return false;
}

static bool belongs(struct record *r, const struct line *l)
{
	if (r->go_on && l->wrapped)
		return true;
	if (r->method && r->lines == 1 && l->shape == SHAPE_LEVELED && !r->after_blank)
		return true;
	if (r->shape == SHAPE_CRASH && r->colon && r->lines == 1 && l->shape == SHAPE_PLAIN)
		return true;
	if (l->shape == SHAPE_CRASH)
		return crash_belongs(r, l);
	if (log_trace_chains(l->text)) {
		r->trace = TRACE_PYTHON;
		r->python_done = false;
		return true;
	}
	if (begins_one(r, l))
		return false;
	if (belongs_to_trace(r, l) || log_trace_goes_on(l->text))
		return true;
	if (r->shape == SHAPE_OBJECT)
		return false;
	if (r->header && !r->after_blank)
		return true;
	if (r->shape == SHAPE_CRASH ? any_learnt(r->learnt) : is_learnt(r->learnt, r->shape))
		return true;
	if (l->indented)
		return !r->after_blank || r->shape == SHAPE_CRASH;
	return !r->after_blank && log_trace_names_exception(l->text);
}

/* The text of an exception may have several lines: those belong if a frame follows. */
static bool may_be_text(struct record *r, const struct line *l)
{
	return r->exception && l->shape == SHAPE_PLAIN && !r->after_blank && ++r->held <= HELD_MAX;
}

static struct text line_at(struct text t, size_t at, bool *ret_whole)
{
	struct text line = text_after(t, at < t.len ? at : t.len);
	const char *newline = at < t.len ? memchr(line.s, '\n', line.len) : NULL;

	*ret_whole = newline != NULL;
	if (newline)
		line.len = (size_t)(newline - line.s);
	return line;
}

/* Node prints the place, the source and a caret before the error: only these three make it a crash. */
static bool is_node_crash(struct text t, size_t at, bool *ret_open)
{
	bool whole;
	struct text source = line_at(t, at, &whole), caret;
	size_t n = 0;

	if (whole)
		caret = line_at(t, at + source.len + 1, &whole);
	*ret_open = !whole;
	if (!whole)
		return false;
	while (n < caret.len && (caret.s[n] == ' ' || caret.s[n] == '\t'))
		n++;
	return n < caret.len && caret.s[n] == '^' && strspn(caret.s + n, "^~\r") >= caret.len - n;
}

static size_t node_crash(struct text t, size_t first, bool *ret_open)
{
	size_t at = first + 1, end = first;

	for (unsigned lines = 1; lines < RECORD_LINES_MAX; lines++) {
		bool whole;
		struct text line = line_at(t, at, &whole);

		if (!whole || at + line.len > RECORD_BYTES_MAX) {
			*ret_open = !whole && at + line.len <= RECORD_BYTES_MAX;
			return end;
		}
		if (!all_blank(line))
			end = at + line.len;
		at += line.len + 1;
		if (line.len > 9 && memcmp(line.s, "Node.js v", 9) == 0)
			return end;
	}
	return end;
}

/* ---- a record whose beginning is configured ---- */

static bool starts(struct multiline_room *room, struct text t, bool whole, bool *ret_partial)
{
	struct log_wrapper wrapper;

	*ret_partial = false;
	if (!room->raw && whole && log_wrapper_likely(t) && log_wrapper_open(t, &room->inside, &wrapper)) {
		*ret_partial = wrapper.partial;
		t = wrapper.inside;
	}
	return line_start_matches(room->start, room->raw ? t : log_plain(t, &room->plain));
}

/* So much of an unfinished line is enough to judge it. */
static bool tells(const struct multiline_room *room, struct text t)
{
	return t.len >= LINE_START_BYTES &&
	       (room->raw || (!log_wrapper_likely(t) && !memchr(t.s, '\033', t.len)));
}

static size_t record_by_start(struct multiline_room *room, struct text t, bool *ret_open)
{
	bool whole, partial, next_partial;
	struct text line = line_at(t, 0, &whole);
	size_t end = line.len, at = end + 1;

	starts(room, line, true, &partial);
	for (unsigned lines = 1; lines < RECORD_LINES_MAX; lines++) {
		line = line_at(t, at, &whole);
		if (at + line.len > RECORD_BYTES_MAX)
			return end;
		if (!whole && !tells(room, line)) {
			*ret_open = true;
			return end;
		}
		if (starts(room, line, whole, &next_partial) && !partial)
			return end;
		*ret_open = !whole;
		if (!whole)
			return end;
		if (!all_blank(line))
			end = at + line.len;
		partial = next_partial;
		at += line.len + 1;
	}
	return end;
}

/* A record that begins with this line. */
static struct record begin_record(const struct multiline *m, const struct line *l)
{
	/* Nothing is known of a file's first record but that it has a time: so will the next one. */
	static const struct multiline assumed = { .begins = { [SHAPE_TIMED] = 1 }, .records = 1 };

	return (struct record){
		.learnt = m->records == 0 && l->shape == SHAPE_TIMED ? &assumed : m,
		.shape = l->shape,
		.level = l->level,
		.leveled = l->leveled,
		.header = l->header,
		.method = l->method || l->header,
		.colon = l->text.len > 0 && l->text.s[l->text.len - 1] == ':',
		.trace = l->trace,
		.lines = 1,
		.go_on = l->partial,
		.exception = !l->blank && log_trace_may_name_exception(l->text),
	};
}

/* Does the line belong, or may it, as further lines will tell? *ret_mine: it does. */
static bool takes_line(struct record *r, const struct line *l, bool *ret_mine)
{
	*ret_mine = !l->blank && belongs(r, l);
	return l->blank || *ret_mine || may_be_text(r, l);
}

static void add_line(struct record *r, const struct line *l)
{
	r->after_blank = false;
	r->go_on = l->partial;
	r->exception = log_trace_may_name_exception(l->text);
	r->held = 0;
}

/* The lines behind the first one, which ends at `end`. */
static size_t record_by_lines(struct record *r, struct multiline_room *room, struct text t, size_t end,
			      bool *ret_open)
{
	bool wrapped = log_wrapper_likely((struct text){ t.s, end }), whole, mine;
	size_t at = end + 1;

	for (; r->lines < RECORD_LINES_MAX; r->lines++) {
		struct text line = line_at(t, at, &whole);
		struct line l;

		if (at + line.len > RECORD_BYTES_MAX)
			return end;
		if (!whole && (line.len < PREFIX_TELLS || wrapped)) {
			*ret_open = wrapped || !begins_object(line);
			return end;
		}
		look(room, line, whole, &l);
		if (!whole && l.text.len < PREFIX_TELLS) {      /* the rest of it were controls */
			*ret_open = true;
			return end;
		}
		if (!takes_line(r, &l, &mine)) {        /* a call in a Go trace is known by its end */
			*ret_open = !whole && r->trace == TRACE_GO && l.shape == SHAPE_PLAIN;
			return end;
		}
		if (!whole) {
			*ret_open = true;
			return end;
		}
		r->after_blank |= l.blank;
		if (mine && r->held > 0 && !log_trace_is_frame(l.text))
			return end;
		if (mine) {
			end = at + line.len;
			add_line(r, &l);
		}
		at += line.len + 1;
	}
	return end;
}

size_t multiline_record(const struct multiline *m, struct multiline_room *room, struct text t, bool *ret_open)
{
	bool whole;
	struct text first = line_at(t, 0, &whole);
	struct record r;
	struct line l;

	*ret_open = false;
	/* A blank line begins no record: to look for the end of each of many would take long. */
	if (all_blank(first))
		return first.len;
	if (room->start)
		return record_by_start(room, t, ret_open);
	if (room->raw)
		return first.len;
	look(room, first, true, &l);
	if ((l.blank && !l.partial) || (l.shape == SHAPE_OBJECT && !l.partial && l.text.s == first.s))
		return first.len;
	if (l.trace == TRACE_NODE) {
		if (is_node_crash(t, first.len + 1, ret_open))
			return node_crash(t, first.len, ret_open);
		if (*ret_open)
			return first.len;
	}
	r = begin_record(m, &l);
	return record_by_lines(&r, room, t, first.len, ret_open);
}

void multiline_learn(struct multiline *m, struct multiline_room *room, struct text record)
{
	bool whole;
	struct line l;

	look(room, line_at(record, 0, &whole), true, &l);
	if (l.blank || l.shape == SHAPE_CRASH)
		return;
	m->begins[l.shape]++;
	m->records++;
}
