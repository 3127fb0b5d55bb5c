#include "log_fields.h"

#include <string.h>

#include "common/parse.h"
#include "chars.h"
#include "log_columns.h"
#include "log_keys.h"
#include "log_level.h"

/* ---- access logs ---- */

enum { HEAD_WORDS_MAX = 4 };

/* From a quote to the next that no backslash escapes; what is between them. */
static bool quoted(struct text *t, struct text *ret)
{
	const char *end;
	size_t n = 1;

	if (t->len < 2 || t->s[0] != '"')
		return false;
	end = memchr(t->s + 1, '"', t->len - 1);
	if (end && !memchr(t->s + 1, '\\', (size_t)(end - t->s) - 1))
		n = (size_t)(end - t->s);
	else
		while (n < t->len && t->s[n] != '"')
			n += t->s[n] == '\\' ? 2 : 1;
	if (n >= t->len)
		return false;
	*ret = (struct text){ t->s + 1, n - 1 };
	*t = text_after(*t, n + 1);
	return true;
}

static bool word(struct text *t, struct text *ret)
{
	size_t n = 0;

	while (t->len > 0 && t->s[0] == ' ')
		*t = text_after(*t, 1);
	while (n < t->len && t->s[n] != ' ' && t->s[n] != '"')
		n++;
	*ret = (struct text){ t->s, n };
	*t = text_after(*t, n);
	return n > 0;
}

static void add_unless_dash(struct log_text *t, const char *name, struct text value)
{
	if (!text_eq(value, TEXT("-")))
		log_text_add(t, text_of(name), value);
}

/* The words in front of the bracket: an address, who it is, and perhaps a host first. */
static bool read_head(struct text *rest, struct text head[HEAD_WORDS_MAX], int *ret_n)
{
	int n = 0;

	while (rest->len > 0 && rest->s[0] != '[') {
		if (n == HEAD_WORDS_MAX || rest->s[0] == '"' || !word(rest, &head[n++]))
			return false;
		while (rest->len > 0 && rest->s[0] == ' ')
			*rest = text_after(*rest, 1);
	}
	*ret_n = n;
	return n >= 3 && rest->len > 0;
}

static void add_head(struct log_text *t, const struct text head[HEAD_WORDS_MAX], int n)
{
	int first = n == HEAD_WORDS_MAX;        /* "localhost:80 127.0.0.1 - -" */

	if (first)
		log_text_add(t, TEXT("host"), head[0]);
	log_text_add(t, TEXT("remote_addr"), head[first]);
	if (head[first + 1].len > 1)            /* lighttpd: the host */
		log_text_add(t, TEXT("host"), head[first + 1]);
	add_unless_dash(t, "user", head[first + 2]);
}

/* A date and a time at the beginning of `t`. */
static bool date_and_time(struct log_clock *c, struct text t, const struct log_text *read,
			  struct log_time *ret)
{
	if (!read || read->time.s != t.s || !read->dated)
		return log_time_begins(c, t, ret) && ret->dated;
	*ret = (struct log_time){ .us = read->us, .len = read->time.len };
	return true;
}

bool log_fields_access(struct log_clock *c, struct text line, const struct log_text *read,
		       struct log_text *ret)
{
	static const char *const more[] = { "referer", "user_agent", "forwarded_for" };
	struct text rest = line, head[HEAD_WORDS_MAX], request, status, bytes, text;
	struct log_time time;
	int n;

	log_text_clear(ret);
	if (!memchr(line.s, '[', line.len) || !read_head(&rest, head, &n) ||
	    !date_and_time(c, text_after(rest, 1), read, &time))
		return false;
	rest = text_after(rest, 1 + time.len);
	if (rest.len < 3 || rest.s[0] != ']' || rest.s[1] != ' ' || rest.s[2] != '"')
		return false;
	rest = text_after(rest, 2);
	ret->prefix = (size_t)(rest.s - line.s);
	if (!quoted(&rest, &request) || !word(&rest, &status) || !word(&rest, &bytes))
		return false;
	ret->timed = true;
	ret->us = time.us;
	add_head(ret, head, n);
	log_columns_request(ret, request);
	if (!log_columns_status(ret, status))
		return false;
	add_unless_dash(ret, "bytes", bytes);
	for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
		while (rest.len > 0 && rest.s[0] == ' ')
			rest = text_after(rest, 1);
		if (!quoted(&rest, &text))
			break;
		add_unless_dash(ret, more[i], text);
	}
	return true;
}

/* ---- logfmt ---- */

static bool name_char(char c)
{
	static const bool of_name[256] = {
		['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['_'] = true, ['.'] = true,
		['-'] = true,         ['@'] = true,         ['/'] = true,         ['$'] = true,
		[0x80 ... 0xff] = true,
	};

	return of_name[(unsigned char)c];
}

/* Is the quoted text a JSON string as it stands? */
static bool is_json(struct text with_quotes)
{
	struct json_scan j = { .p = with_quotes.s, .end = with_quotes.s + with_quotes.len };
	struct text inside;
	bool escapes;

	return json_string(&j, &escapes, &inside) && j.p == j.end && !j.unstorable;
}

/* One pair; false: here is none. A name without a value is true. */
static bool pair(struct text *t, struct log_text_field *ret)
{
	size_t n = 0, m = 0;
	struct text inside;

	while (n < t->len && name_char(t->s[n]))
		n++;
	if (n == 0 || n == t->len || t->s[n] != '=')
		return false;
	*ret = (struct log_text_field){ .name = { t->s, n } };
	*t = text_after(*t, n + 1);
	if (t->len > 0 && t->s[0] == '"') {
		const char *begin = t->s;

		if (!quoted(t, &inside))
			return false;
		ret->value = (struct text){ begin, (size_t)(t->s - begin) };
		ret->kind = FIELD_JSON;
		if (!is_json(ret->value)) {
			ret->value = inside;
			ret->kind = FIELD_TEXT;
		}
	} else {
		while (m < t->len && t->s[m] != ' ')
			m++;
		ret->value = (struct text){ t->s, m };
		*t = text_after(*t, m);
	}
	return t->len == 0 || t->s[0] == ' ';
}

static struct text plain(const struct log_text_field *f)
{
	struct text t = f->value;

	return f->kind == FIELD_JSON && t.len >= 2 && t.s[0] == '"' ? (struct text){ t.s + 1, t.len - 2 } : t;
}

/* Names that applications use for what is no logger and no level. */
static bool is_anybodys(struct text name)
{
	static const char *const names[] = { "name",   "source", "app",   "c", "component",
					     "module", "status", "label", "s", NULL };

	for (const char *const *n = names; *n; n++)
		if (text_eq(name, text_of(*n)))
			return true;
	return false;
}

/* True when the pair is one of a logger's own. */
static bool take_pair(struct log_clock *c, const struct log_text_field *f, struct log_text *ret,
		      unsigned rank[SLOTS])
{
	const struct log_key *row = log_key_find(f->name);
	enum log_slot slot = row ? row->slot : SLOT_NONE;
	enum log_level level;
	int64_t us;

	if (slot == SLOT_NONE || row->rank >= rank[slot] || is_anybodys(f->name))
		return false;
	if (slot == SLOT_MESSAGE && plain(f).len > 6 && memcmp(plain(f).s, "audit(", 6) == 0) {
		const char *colon = memchr(plain(f).s, ':', plain(f).len); /* "audit(1796020200.123:45):" */

		ret->timed =
			colon &&
			log_time_epoch(c, (struct text){ plain(f).s + 6, (size_t)(colon - plain(f).s) - 6 },
				       &ret->us);
		return false;
	}
	if (slot == SLOT_TIMESTAMP && !ret->timed && log_time_is(c, plain(f), &us)) {
		ret->timed = true;
		ret->us = us;
		ret->time = plain(f);
	} else if (slot == SLOT_LEVEL && (log_level_word(plain(f), &level, NULL) ||
					  log_level_number(plain(f), row->family, &level))) {
		ret->leveled = true;
		ret->level = level;
	} else if (slot == SLOT_MESSAGE) {
		ret->message = *f;
	} else if (slot == SLOT_LOGGER) {
		ret->logger = plain(f);
	} else {
		return false;
	}
	rank[slot] = row->rank;
	return true;
}

static bool has_field(const struct log_text *t, struct text name)
{
	for (unsigned i = 0; i < t->n; i++)
		if (text_eq(t->field[i].name, name))
			return true;
	return false;
}

/* "level=info msg=it has no quotes": in the last pair, behind a time or a level, the message goes to the end
 * of the line. */
static bool message_is_last(const struct log_text_field *last, unsigned own, const struct log_text *ret)
{
	return own >= 2 && (ret->timed || ret->leveled) && last->kind == FIELD_TEXT &&
	       last->value.s == ret->message.value.s;
}

bool log_fields_pairs(struct log_clock *c, struct text line, size_t from, struct log_text *ret)
{
	unsigned rank[SLOTS] = { 255, 255, 255, 255, 255 }, pairs = 0, own = 0;
	struct text rest = text_after(line, from);
	struct log_text_field f = { 0 };

	while (rest.len > 0) {
		while (rest.len > 0 && rest.s[0] == ' ')
			rest = text_after(rest, 1);
		if (rest.len == 0)
			break;
		if (!pair(&rest, &f)) {
			if (!message_is_last(&f, own, ret))
				return false;
			ret->message.value.len = (size_t)(line.s + line.len - ret->message.value.s);
			break;
		}
		pairs++;
		if (take_pair(c, &f, ret, rank))
			own++;
		else if (ret->n == LOG_TEXT_FIELDS_MAX)
			return false;
		else if (f.kind == FIELD_JSON && !has_field(ret, f.name))
			ret->field[ret->n++] = f;
		else
			log_text_add(ret, f.name, f.value);
	}
	if (!ret->leveled && has_field(ret, TEXT("method")) && has_field(ret, TEXT("path")))     /* Lograge */
		for (unsigned i = 0; i < ret->n; i++)
			if (text_eq(ret->field[i].name, TEXT("status")) &&
			    log_columns_status(ret, ret->field[i].value))
				return true;
	return pairs >= 2 && ((own >= 1 && (ret->message.value.s || ret->leveled)) || ret->timed);
}

bool log_fields_audit(struct log_clock *c, struct text line, struct log_text *ret)
{
	static const char mark[] = " msg=audit(";
	const char *at = text_begins(line, "type=") ? memmem(line.s, line.len, mark, sizeof mark - 1) : NULL,
		   *colon, *end;
	struct text rest;

	log_text_clear(ret);
	if (!at)
		return false;
	rest = text_after(line, (size_t)(at + sizeof mark - 1 - line.s));
	colon = memchr(rest.s, ':', rest.len);
	end = memmem(rest.s, rest.len, "): ", 3);
	if (!colon || !end || end < colon ||
	    !log_time_epoch(c, (struct text){ rest.s, (size_t)(colon - rest.s) }, &ret->us))
		return false;
	ret->timed = true;
	log_text_add(ret, TEXT("type"), (struct text){ line.s + 5, (size_t)(at - line.s) - 5 });
	log_text_add(ret, TEXT("serial"), (struct text){ colon + 1, (size_t)(end - colon) - 1 });
	ret->prefix = (size_t)(end + 3 - line.s);
	return true;
}

/* ---- PostgreSQL's csvlog ---- */

/* One value; `last` when no comma follows. */
static bool csv_value(struct text *t, struct log_text_field *ret, bool *ret_last)
{
	size_t n = 0;

	ret->kind = FIELD_TEXT;
	if (t->len > 0 && t->s[0] == '"') {
		for (n = 1; n < t->len && !(t->s[n] == '"' && (n + 1 == t->len || t->s[n + 1] != '"'));)
			n += t->s[n] == '"' ? 2 : 1;
		if (n >= t->len)
			return false;
		ret->value = (struct text){ t->s + 1, n - 1 };
		if (memchr(ret->value.s, '"', ret->value.len))
			ret->kind = FIELD_DOUBLED;
		n++;
	} else {
		while (n < t->len && t->s[n] != ',')
			n++;
		ret->value = (struct text){ t->s, n };
	}
	*t = text_after(*t, n);
	*ret_last = t->len == 0;
	if (*ret_last)
		return true;
	if (t->s[0] != ',')
		return false;
	*t = text_after(*t, 1);
	return true;
}

bool log_fields_csv(struct log_clock *c, struct text line, const struct log_text *read, struct log_text *ret)
{
	/* Its documentation's names. */
	static const char *const names[] = {
		NULL, "user_name", "database_name", "process_id", "connection_from", "session_id",
		"session_line_num", "command_tag", "session_start_time", "virtual_transaction_id",
		"transaction_id", NULL, "sql_state_code", NULL, "detail", "hint", "internal_query",
		"internal_query_pos", "context", "query", "query_pos", "location", "application_name",
		"backend_type", "leader_pid", "query_id",
	};
	enum { COLUMNS = sizeof names / sizeof *names, SEVERITY = 11, MESSAGE = 13, COLUMNS_MIN = 23 };
	struct log_time time;
	struct text rest = line;
	struct log_text_field f = { .kind = FIELD_TEXT };
	bool last = false;
	size_t i = 0;

	log_text_clear(ret);
	if (!date_and_time(c, line, read, &time) || time.len >= line.len || line.s[time.len] != ',')
		return false;
	ret->timed = true;
	ret->us = time.us;
	for (; i < COLUMNS && !last; i++) {
		if (!csv_value(&rest, &f, &last))
			return false;
		if (i == SEVERITY)
			ret->leveled = log_level_word(f.value, &ret->level, NULL);
		else if (i == MESSAGE)
			ret->message = f;
		else if (names[i] && f.value.len > 0 && f.kind == FIELD_DOUBLED)
			ret->field[ret->n++] = (struct log_text_field){ text_of(names[i]), f.value, f.kind };
		else if (names[i])
			log_text_add(ret, text_of(names[i]), f.value);
	}
	return i >= COLUMNS_MIN && ret->leveled;
}
