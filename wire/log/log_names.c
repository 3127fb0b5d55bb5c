#include "log_reading.h"

#include <string.h>
#include <strings.h>

#include "log_level.h"

static bool contains(struct text t, const char *what)
{
	size_t n = strlen(what);

	for (size_t i = 0; i + n <= t.len; i++)
		if ((t.s[i] | 0x20) == (what[0] | 0x20) && strncasecmp(t.s + i, what, n) == 0)
			return true;
	return false;
}

/* "worker-1", "pool-1-thread-1", "http-nio-8080-exec-3", "main". */
static bool is_thread(struct text t)
{
	static const char *const parts[] = { "thread", "worker", "-exec-", "dispatcher", NULL };
	size_t n = t.len;

	if (text_eq(t, TEXT("main")))
		return true;
	for (const char *const *part = parts; *part; part++)
		if (contains(t, *part))
			return true;
	while (n > 0 && is_digit(t.s[n - 1]))
		n--;
	return n > 0 && n < t.len && (t.s[n - 1] == '-' || t.s[n - 1] == '#');
}

bool is_qualified(struct text t)
{
	static const char *const files[] = { ".log",  ".conf", ".cfg",  ".json", ".yml",
					     ".yaml", ".txt",  ".html", ".css",  NULL };
	unsigned parts = 0;

	for (size_t i = 0; i < t.len; parts++) {
		size_t n = 0;

		if (!is_letter(t.s[i]) && t.s[i] != '_')
			return false;
		while (i + n < t.len && (is_word(t.s[i + n]) || strchr("$-#", t.s[i + n])))
			n++;
		i += n;
		if (i == t.len) {
			parts++;
			break;
		}
		if (i + 1 < t.len && t.s[i] == ':' && t.s[i + 1] == ':')
			i += 2;
		else if (i + 1 < t.len && (t.s[i] == '.' || t.s[i] == '\\'))
			i++;
		else
			return false;
	}
	for (const char *const *end = files; *end; end++)
		if (t.len > strlen(*end) && text_eq(text_after(t, t.len - strlen(*end)), text_of(*end)))
			return false;
	return parts >= 2 && !is_thread(t);
}

/* Without ":42", a line of its source. */
static struct text before_line(struct text t)
{
	size_t n = t.len;

	while (n > 0 && is_digit(t.s[n - 1]))
		n--;
	return n > 1 && n < t.len && t.s[n - 1] == ':' ? text_trim((struct text){ t.s, n - 1 }) : t;
}

enum name_rank rank_of(const struct reading *r, struct text t, char bracket)
{
	if (is_qualified(before_line(t)))
		return NAME_QUALIFIED;
	if (bracket == '(' && r->found->leveled)
		return NAME_THREAD;
	if (!is_letter(text_first(t)) && text_first(t) != '_')
		return NAME_OTHER;
	if (is_thread(t) && r->where != GLUED_TO_LEVEL)
		return NAME_THREAD;
	return r->where == ELSEWHERE ? NAME_PLAIN : NAME_BEHIND_LEVEL;
}

/* The best of the names, of equal ones the first qualified or the last; the others are threads. */
void reading_decide_names(struct reading *r)
{
	unsigned best = r->names;

	for (unsigned i = 0; i < r->names && !r->found->logger.s; i++) {
		enum name_rank rank = r->name[i].rank;

		if (rank <= NAME_THREAD)
			continue;
		if (best == r->names || rank > r->name[best].rank ||
		    (rank == r->name[best].rank && rank != NAME_QUALIFIED))
			best = i;
	}
	if (best < r->names)
		reading_logger(r, r->name[best].text);
	for (unsigned i = 0; i < r->names; i++)
		if (i != best && r->name[i].rank != NAME_OTHER)
			reading_add(r, "thread", r->name[i].text);
}

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
	if (dot == 0 || n == r->rest.len || r->rest.s[n] != ':' ||
	    !is_upper_text((struct text){ r->rest.s + from, n - from }) ||
	    !log_level_word((struct text){ r->rest.s + from, n - from }, &level, NULL))
		return false;
	reading_logger(r, (struct text){ r->rest.s, dot });
	reading_level(r, level, n);
	return true;
}

/* "shop.billing", "postgres@db". */
static bool is_account(char c)
{
	return is_word(c) || c == '.' || c == '-' || c == '@' || c == '/';
}

/* A name and a level where neither brackets nor a time frame them: "root - WARNING - text" at the very
 * beginning, "client: info: text" behind a time, "postgres@db ERROR:  text", "id<tab>ERROR<tab>text". */
bool take_name_and_level(struct reading *r)
{
	struct text t = r->rest, word;
	size_t n, from, w;
	enum log_level level;

	if (r->found->leveled || r->named || !(r->found->timed || t.s == r->begin))
		return false;
	n = text_span(t, is_account);
	if (n == 0 || n + 4 > t.len || n > NAME_MAX_BYTES)
		return false;
	from = n;
	if (text_begins(text_after(t, n), " - "))
		from += 3;
	else if (r->found->timed &&
		 (text_begins(text_after(t, n), ": ") || (memchr(t.s, '@', n) && t.s[n] == ' ')))
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

/* "[(null)] - " behind a name: the length of a group that a dash ends; 0: none. */
static size_t group_and_dash(struct text t)
{
	enum { GROUP_MAX = 100 };
	char close = text_first(t) == '['   ? ']'
		     : text_first(t) == '(' ? ')'
		     : text_first(t) == '<' ? '>'
					    : '\0';
	const char *end = close ? memchr(t.s, close, t.len < GROUP_MAX ? t.len : GROUP_MAX) : NULL;

	return end && text_begins(text_after(t, (size_t)(end + 1 - t.s)), " - ") ? (size_t)(end + 1 - t.s)
										 : 0;
}

/* Where nothing but blanks stands behind a name: is it a logger's all the same? */
static bool stands_alone(const struct reading *r, struct text name, struct text rest)
{
	unsigned dots = 0;
	bool class = false;

	if (!r->found->timed || !r->found->leveled || !is_qualified(name))
		return false;
	for (size_t i = 1; i < name.len; i++) {
		dots += name.s[i - 1] == '.' || text_begins(text_after(name, i - 1), "::");
		class |= name.s[i - 1] == '.' && is_upper(name.s[i]) && is_letter(name.s[0]);
	}
	return rest.s[1] == ' ' || text_begins(rest, " [") || class || (dots >= 2 && r->names > 0);
}

/* What ends a name behind which a message follows; the bytes up to the message, 0: nothing does. */
static size_t ends_name(const struct reading *r, struct text t, size_t n, size_t gap)
{
	struct text rest = text_after(t, n), behind = text_after(t, n + gap);
	bool signs = memchr(t.s, '.', n) || memchr(t.s, ':', n - 1) || memchr(t.s, '_', n);

	if (t.s[n - 1] == ':' && gap > 0)               /* "shop.billing: " */
		return r->found->leveled && (r->found->timed || signs) && (r->names == 0 || signs) ? n : 0;
	if (text_first(behind) == ':' && gap > 0 && r->found->leveled)  /* "shop.Billing      : " */
		return n + gap + 1;
	if (text_first(rest) == '\t')   /* zap: behind a message its fields follow */
		return text_first(behind) == '{' ? 0 : n;
	if (text_first(behind) == '|')
		return n;
	if (gap > 0 && text_begins(behind, "> ") && r->found->leveled)  /* "my_app::db > " */
		return n + gap + 1;
	if (gap > 0 &&
	    (text_begins(behind, "- ") || text_begins(behind, "-\t") || text_begins(behind, "-- ")))
		return n + gap;         /* "shop.Billing - " */
	if (gap > 0 && r->found->leveled &&
	    (group_and_dash(behind) > 0 || stands_alone(r, (struct text){ t.s, n }, rest)))
		return n;
	return 0;
}

/* "DB::Exception", "java.io.IOException": what went wrong is no logger. */
static bool is_fault(struct text name)
{
	static const char *const ends[] = { "Exception", "Error", NULL };

	while (name.len > 0 && name.s[name.len - 1] == ':')
		name.len--;
	for (const char *const *end = ends; *end; end++)
		if (name.len > strlen(*end) &&
		    text_eq(text_after(name, name.len - strlen(*end)), text_of(*end)))
			return true;
	return false;
}

/* "mydb odoo.sql_db: " of Odoo, "admin org.sonatype.Foo - " of Nexus: a word, and then the logger. */
static bool take_second_name(struct reading *r, size_t first)
{
	struct text t = r->rest;
	size_t n;

	if (!r->found->timed || !r->found->leveled || first + 1 >= t.len || t.s[first] != ' ' ||
	    is_qualified((struct text){ t.s, first }))
		return false;
	t = text_after(t, first + 1);
	n = text_span(t, is_name);
	if (n < 3 || n >= t.len || (t.s[n - 1] != ':' && !text_begins(text_after(t, n), " - ")) ||
	    !is_qualified((struct text){ t.s, t.s[n - 1] == ':' ? n - 1 : n }) ||
	    is_fault((struct text){ t.s, n }))
		return false;
	reading_logger(r, (struct text){ t.s, n });
	r->rest = text_after(t, n);
	return true;
}

/* "main<tab>io.trino.Server<tab>" of Trino and Airlift: a thread and the logger in columns. */
static bool take_columns(struct reading *r, size_t first)
{
	struct text t = r->rest, name;

	if (!r->found->leveled || first + 1 >= t.len || t.s[first] != '\t')
		return false;
	name = text_after(t, first + 1);
	name.len = text_span(name, is_name);
	if (first + 1 + name.len >= t.len || t.s[first + 1 + name.len] != '\t' || !is_qualified(name) ||
	    is_qualified((struct text){ t.s, first }))
		return false;
	reading_add(r, "thread", (struct text){ t.s, first });
	reading_logger(r, name);
	r->rest = text_after(t, first + 1 + name.len);
	return true;
}

/* A name that a " - ", a ": " or " : " separates from the message. */
bool take_logger(struct reading *r)
{
	struct text t = r->rest;
	size_t n, gap, end;

	if (r->named || (!r->found->timed && !r->found->leveled))
		return false;
	if (r->found->leveled && text_begins(t, "in ")) {       /* Flask: "WARNING in shop: " */
		n = text_span(text_after(t, 3), is_name);
		if (n > 1 && t.s[3 + n - 1] == ':' && 3 + n < t.len && t.s[3 + n] == ' ') {
			reading_logger(r, (struct text){ t.s + 3, n });
			r->rest = text_after(t, 3 + n);
			return true;
		}
	}
	n = text_span(t, is_name);
	if (n == 0 || n > NAME_MAX_BYTES || !(is_letter(t.s[0]) || t.s[0] == '_'))
		return false;
	if (take_columns(r, n) || take_second_name(r, n))
		return true;
	gap = text_span(text_after(t, n), is_blank);
	end = n + gap < t.len ? ends_name(r, t, n, gap) : 0;
	if (end == 0)
		return false;
	reading_logger(r, (struct text){ t.s, n });
	r->rest = text_after(t, end);
	end = group_and_dash(text_trim(r->rest));
	if (end > 0) {                  /* log4net's context, log4j's place */
		r->rest = text_trim(r->rest);
		r->named = false;
		if (text_first(r->rest) == '<')
			r->rest = text_after(r->rest, end);
		else
			take_group(r);
		r->named = true;
	}
	return true;
}

/* "DEBUG:shop.billing:cache warmed" of Python, behind a level at the very beginning. */
bool take_python_name(struct reading *r)
{
	struct text t = r->rest;
	size_t n = 0;

	if (!r->found->leveled || r->named || t.s != r->level_end || t.len < 2 || t.s[0] != ':' ||
	    is_blank(t.s[1]))
		return false;
	for (n = 1; n < t.len && t.s[n] != ':' && (is_name(t.s[n]));)
		n++;
	if (n == 1 || n == t.len || t.s[n] != ':')
		return false;
	reading_logger(r, (struct text){ t.s + 1, n - 1 });
	r->rest = text_after(t, n + 1);
	return true;
}

/* "request{id=7 path="/x"}: " of Rust's tracing; "ThreadId(01) ". */
bool take_span(struct reading *r)
{
	enum { SPAN_MAX = 1000 };
	struct text t = r->rest;
	size_t n, depth = 0;
	bool quoted = false;

	if (!r->found->timed || !r->found->leveled || r->named)
		return false;
	n = text_span(t, is_name);
	if (text_begins(t, "ThreadId(") && t.len > 11) {
		n = text_span(text_after(t, 9), is_digit);
		if (9 + n >= t.len || t.s[9 + n] != ')')
			return false;
		reading_add(r, "thread", (struct text){ t.s + 9, n });
		r->rest = text_after(t, 10 + n);
		return true;
	}
	if (n == 0 || n >= t.len || t.s[n] != '{')
		return false;
	for (; n < t.len && n < SPAN_MAX; n++) {
		quoted ^= t.s[n] == '"' && t.s[n - 1] != '\\';
		depth += !quoted && t.s[n] == '{';
		if (!quoted && t.s[n] == '}' && --depth == 0)
			break;
	}
	if (n + 2 >= t.len || depth > 0 || t.s[n + 1] != ':')
		return false;
	reading_add(r, "span", (struct text){ t.s, n + 1 });
	r->rest = text_after(t, n + 2);
	return true;
}

/* "[2026-11-30 12:00:01,123] INFO started (kafka.server.KafkaServer)": the logger is the last word. */
void find_last_name(struct reading *r)
{
	struct text t = r->rest;
	size_t n = t.len;

	if (r->named || r->names > 0 || !r->found->timed || !r->found->leveled || t.len < 4 ||
	    t.s[t.len - 1] != ')' || *r->begin != '[')
		return;
	while (n > 0 && t.s[n - 1] != '(' && !is_blank(t.s[n - 1]))
		n--;
	if (n < 2 || t.s[n - 1] != '(' || t.s[n - 2] != ' ' ||
	    !is_qualified((struct text){ t.s + n, t.len - n - 1 }))
		return;
	reading_logger(r, (struct text){ t.s + n, t.len - n - 1 });
}

/* "####<time> <Level> <Subsystem> ... <": up to the message, which is the last in angles. */
bool take_weblogic(struct reading *r)
{
	static const char *const names[] = { NULL,   NULL,          NULL,
					     "host", "server",      "thread",
					     "user", "transaction", "diagnostic_context" };
	struct text t = r->rest;
	struct log_time time;
	enum log_level level;
	unsigned i = 0;

	if (t.s != r->begin)
		return false;
	if (text_begins(t, "####<"))
		t = text_after(t, 4);
	if (text_first(t) != '<' || !log_time_begins(r->clock, text_after(t, 1), &time) || !time.dated ||
	    !text_begins(text_after(t, 1 + time.len), "> <"))
		return false;
	for (; text_first(t) == '<'; i++) {
		const char *end = memmem(t.s, t.len, "> <", 3);
		struct text value;

		if (!end)
			break;
		value = (struct text){ t.s + 1, (size_t)(end - t.s) - 1 };
		if (i == 1) {
			if (!log_level_word(value, &level, NULL))
				return false;
			reading_level(r, level, 0);
		} else if (i == 2) {
			reading_logger(r, value);
		} else if (i < sizeof names / sizeof *names && names[i] && value.len > 0 &&
			   t.s - r->begin > 4 && r->begin[0] == '#') {
			reading_add(r, names[i], value);
		}
		t = text_after(t, (size_t)(end + 2 - t.s));
	}
	if (i < 3)
		return false;
	r->found->timed = true;
	r->found->us = time.us;
	r->rest = text_after(t, 1);
	return true;
}
