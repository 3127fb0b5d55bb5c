#include "log_text.h"

#include <string.h>

#include "common/parse.h"
#include "log_level.h"
#include "log_reading.h"

/* ---- what was found ---- */

void log_text_add(struct log_text *t, struct text name, struct text value)
{
	enum { NUMBER_BYTES = 16 };
	int64_t n;

	value = text_trim(value);
	for (unsigned i = 0; i < t->n; i++)
		if (text_eq(t->field[i].name, name))
			return;
	if (value.len == 0 || t->n == LOG_TEXT_FIELDS_MAX)
		return;
	t->field[t->n++] = (struct log_text_field){
		.name = name,
		.value = value,
		.kind = is_digit(value.s[0]) && value.len < NUMBER_BYTES && parse_i64(value, &n) &&
			(value.len == 1 || value.s[0] != '0') ? FIELD_JSON : FIELD_TEXT,
	};
}

void reading_add(struct reading *r, const char *name, struct text value)
{
	log_text_add(r->found, text_of(name), value);
}

void reading_level(struct reading *r, enum log_level level, size_t len)
{
	r->found->leveled = true;
	r->found->level = level;
	r->rest = text_after(r->rest, len);
	r->level_end = r->rest.s;
}

/* "2f0a6c1e-...": the number of a request. */
static bool is_uuid(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? t.s[i] != '-'
							    : !is_word(t.s[i]) || t.s[i] == '_')
			return false;
	return t.len == 36;
}

/* "shop.db:pay:42": a line and a function stand behind some names. */
static struct text without_line(struct reading *r, struct text name)
{
	size_t n = name.len, w;

	while (n > 0 && is_digit(name.s[n - 1]))
		n--;
	if (n < 2 || n == name.len || name.s[n - 1] != ':' || name.s[n - 2] == ':')
		return name;
	reading_add(r, "line", text_after(name, n));
	name = text_trim((struct text){ name.s, n - 1 });
	for (w = name.len; w > 0 && (is_word(name.s[w - 1]) || strchr("<>", name.s[w - 1]));)
		w--;
	if (w < 2 || w == name.len || name.s[w - 1] != ':' || name.s[w - 2] == ':')
		return name;
	reading_add(r, "function", text_after(name, w));
	return (struct text){ name.s, w - 1 };
}

void reading_logger(struct reading *r, struct text name)
{
	while (name.len > 0 && name.s[name.len - 1] == ':')
		name.len--;
	if (is_uuid(name)) {
		reading_add(r, "request_id", name);
		return;
	}
	if (name.len > 0) {
		r->found->logger = without_line(r, name);
		r->named = true;
	}
}

/* Letters and digits only, as in "info" and "debug1". */
size_t word_length(struct text t)
{
	return is_letter(text_first(t)) ? text_span(t, is_word) : 0;
}

bool is_upper_text(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (is_lower(t.s[i]))
			return false;
	return true;
}

bool is_lower_text(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (is_upper(t.s[i]))
			return false;
	return true;
}

/* Signs that separate pieces. What stands at the very beginning is no sign of a prefix. */
void reading_skip_signs(struct reading *r)
{
	static const char *const signs[] = { "|", "-->", "->",           "===",      "---", "--",
					     "-", "**",  "\xe2\x80\xba", "\xc2\xbb", "~",   NULL };

	for (bool more = true; more;) {
		more = false;
		if (is_blank(text_first(r->rest))) {
			r->rest = text_after(r->rest, 1);
			more = true;
			continue;
		}
		if (r->rest.len == 0 || !strchr("|-=*\xe2\xc2~:>,[", r->rest.s[0]))
			return;
		for (const char *const *s = signs; *s && !more; s++) {
			size_t n = strlen(*s);

			if (text_begins(r->rest, *s) &&
			    (r->rest.len == n || is_blank(r->rest.s[n]) || (*s)[0] == '|' ||
			     ((*s)[0] == '*' && r->rest.s[n] == ':'))) {
				r->rest = text_after(r->rest, n);
				more = true;
			}
		}
		if (!more && r->rest.len > 1 && strchr(":>,", text_first(r->rest)) &&
		    is_blank(r->rest.s[1]) && r->rest.s != r->begin) {
			r->rest = text_after(r->rest, 1);
			more = true;
		}
		if (!more && ((r->rest.len == 1 && r->rest.s[0] == ':') || text_eq(r->rest, TEXT("[["))))
			r->rest = text_after(r->rest, r->rest.len);
	}
}

/* A picture in front of a level, as in "✖  error     failed". */
static void skip_picture(struct reading *r)
{
	struct text t = r->rest;
	enum log_level level;
	size_t n = 0, w;

	while (n < t.len && n < 8 && (unsigned char)t.s[n] >= 0x80)
		n++;
	if (n == 0 || r->found->leveled || n == t.len || t.s[n] != ' ')
		return;
	t = text_trim(text_after(t, n));
	w = word_length(t);
	if (w > 0 && w + 1 < t.len && t.s[w] == ' ' && t.s[w + 1] == ' ' &&
	    log_level_word((struct text){ t.s, w }, &level, NULL)) {
		r->found->leveled = true;
		r->found->level = level;
		r->rest = text_after(t, w);
	}
}

/* With what a piece may begin. Most pieces are ruled out by that. */
enum begin { DIGIT = 1, LETTER = 2, OPEN = 4, OTHER = 8, NAME = DIGIT | LETTER | OTHER, ANY = NAME | OPEN };

static enum begin begin_of(char c)
{
	if (is_letter(c) || c == '_')
		return LETTER;
	if (is_digit(c))
		return DIGIT;
	return c == '[' || c == '(' || c == '{' || c == '<' ? OPEN : OTHER;
}

static bool take_piece(struct reading *r)
{
	static const struct {
		bool (*take)(struct reading *);
		unsigned begin;
	} pieces[] = {
		{ take_priority, OPEN },           { take_process, DIGIT },
		{ take_gstreamer, DIGIT },
		{ take_weblogic, OPEN | OTHER },   { take_known_program, LETTER | OPEN },
		{ take_letter, LETTER },           { take_component, LETTER | DIGIT },
		{ take_time, LETTER | DIGIT },     { take_epoch, DIGIT },
		{ take_header_5424, ANY },         { take_cisco, OTHER },
		{ take_program, ANY },             { take_python_name, OTHER },
		{ take_report, OTHER },            { take_sign, LETTER | OTHER },
		{ take_colons, OTHER },            { take_level, LETTER },
		{ take_group, OPEN },              { take_number, DIGIT },
		{ take_channel_and_level, NAME },  { take_name_and_level, NAME },
		{ take_caller, ANY },              { take_span, ANY },
		{ take_category, ANY },            { take_logger, LETTER },
		{ take_ahead, ANY },
	};
	const unsigned begin = begin_of(text_first(r->rest));

	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
		if ((pieces[i].begin & begin) && pieces[i].take(r))
			return true;
	return false;
}

bool log_text_read(struct log_clock *c, struct text line, struct log_text *ret)
{
	struct reading r = { .clock = c, .found = ret, .rest = line, .begin = line.s };
	struct log_time ahead;

	log_text_clear(ret);
	while (is_blank(text_first(r.rest)))
		r.rest = text_after(r.rest, 1);
	r.indented = r.rest.s != line.s;
	r.begin = r.rest.s;
	if (text_begins(r.rest, "** "))
		r.rest = text_after(r.rest, 3);
	if (r.rest.len > 1 && strchr("*.", r.rest.s[0]) && log_time_begins(c, text_after(r.rest, 1), &ahead))
		r.rest = text_after(r.rest, 1);         /* Cisco: the clock is not set */
	for (unsigned i = 0; i < LOG_TEXT_PIECES_MAX && r.rest.len > 0; i++) {
		skip_picture(&r);
		if (!take_piece(&r))
			break;
		reading_skip_signs(&r);
		find_last_name(&r);
		if (text_begins(r.rest, ",\"") || text_begins(r.rest, ",,"))     /* CSV */
			break;
	}
	if (!ret->timed && !ret->leveled) {
		ret->n = 0;
		ret->logger = (struct text){ NULL, 0 };
		return false;
	}
	reading_decide_names(&r);
	ret->prefix = (size_t)(r.rest.s - line.s);
	return true;
}
