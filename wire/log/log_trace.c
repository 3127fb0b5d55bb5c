#include "log_trace.h"

#include <ctype.h>
#include <string.h>

#include "chars.h"

static bool begins_any(struct text line, const char *const *with)
{
	for (; *with; with++)
		if (text_begins(line, *with))
			return true;
	return false;
}

static bool contains(struct text line, const char *what)
{
	return memmem(line.s, line.len, what, strlen(what)) != NULL;
}

/* "/srv/app/console.js:9", "file:///srv/app.mjs:3": nothing else on the line. */
static bool is_place(struct text line)
{
	size_t n = line.len;

	while (n > 0 && is_digit(line.s[n - 1]))
		n--;
	return n < line.len && n > 1 && line.s[n - 1] == ':' &&
	       (line.s[0] == '/' || text_begins(line, "file:///") || text_begins(line, "node:")) &&
	       !memchr(line.s, ' ', line.len);
}

/* "** (RuntimeError) boom", "** (EXIT from #PID<0.99.0>) killed"; "** (or so) it may" is prose. */
static bool is_elixir(struct text line)
{
	static const char exit[] = "EXIT from #PID<";
	struct text t;
	size_t n = 0;

	if (!text_begins(line, "** ("))
		return false;
	t = text_after(line, 4);
	if (text_begins(t, exit))
		n = sizeof exit - 1;
	else if (!is_upper(text_first(t)))
		return false;
	while (n < t.len && (is_word(t.s[n]) || t.s[n] == '.' || t.s[n] == '>'))
		n++;
	return n + 1 < t.len && t.s[n] == ')' && t.s[n + 1] == ' ';
}

/* The first "Warning: "; NULL: none. A capital W is rare, so this is quicker than memmem(). */
static const char *find_warning(struct text line)
{
	static const char warning[] = "Warning: ";
	const char *at = line.s, *end = line.s + line.len;

	while ((at = memchr(at, *warning, (size_t)(end - at))) != NULL) {
		if (text_begins((struct text){ at, (size_t)(end - at) }, warning))
			return at;
		at++;
	}
	return NULL;
}

/* "/srv/a.py:3: DeprecationWarning: old": Python's warnings. */
static bool is_python_warning(struct text line)
{
	const char *at = find_warning(line), *colon = at;

	while (colon && colon > line.s && is_letter(colon[-1]))
		colon--;
	return colon && colon - line.s > 4 && colon[-1] == ' ' && colon[-2] == ':' && is_digit(colon[-3]);
}

enum log_trace log_trace_begins(struct text line, enum log_level *ret)
{
	static const struct {
		char begin[40];
		const char *contain;
		enum log_level level;
		enum log_trace trace;
	} rows[] = {
		{ "Traceback (most recent call last)", NULL, LEVEL_ERROR, TRACE_PYTHON },
		{ "  + Exception Group Traceback", NULL, LEVEL_ERROR, TRACE_PYTHON },
		{ "panic: ", NULL, LEVEL_CRITICAL, TRACE_GO },
		{ "fatal error: ", NULL, LEVEL_CRITICAL, TRACE_GO },
		{ "goroutine ", " [", LEVEL_ERROR, TRACE_GO },
		{ "SIGSEGV: ", NULL, LEVEL_CRITICAL, TRACE_GO },
		{ "Exception in thread ", NULL, LEVEL_ERROR, TRACE_OTHER },
		{ "thread '", " panicked at ", LEVEL_ERROR, TRACE_OTHER },
		{ "Uncaught ", NULL, LEVEL_ERROR, TRACE_OTHER },
		{ "Unhandled ", "xception", LEVEL_ERROR, TRACE_OTHER },
		{ "Unhandled exception. ", NULL, LEVEL_CRITICAL, TRACE_OTHER },
		{ "terminate called ", NULL, LEVEL_CRITICAL, TRACE_OTHER },
		{ "PHP Fatal error: ", NULL, LEVEL_CRITICAL, TRACE_OTHER },
		{ "PHP Parse error: ", NULL, LEVEL_CRITICAL, TRACE_OTHER },
		{ "PHP Warning: ", NULL, LEVEL_WARNING, TRACE_OTHER },
		{ "PHP Deprecated: ", NULL, LEVEL_INFO, TRACE_OTHER },
		{ "PHP Notice: ", NULL, LEVEL_INFO, TRACE_OTHER },
		{ "AddressSanitizer", NULL, LEVEL_CRITICAL, TRACE_OTHER },
	};

	for (size_t i = 0; line.len > 0 && i < sizeof rows / sizeof *rows; i++)
		if (rows[i].begin[0] == line.s[0] && text_begins(line, rows[i].begin) &&
		    (!rows[i].contain || contains(line, rows[i].contain))) {
			*ret = rows[i].level;
			return rows[i].trace;
		}
	*ret = LEVEL_INFO;
	if (is_elixir(line)) {
		*ret = LEVEL_ERROR;
		return TRACE_OTHER;
	}
	if (is_place(line)) {
		*ret = LEVEL_ERROR;
		return TRACE_NODE;
	}
	if (is_python_warning(line)) {
		*ret = LEVEL_WARNING;
		return TRACE_OTHER;
	}
	return TRACE_NONE;
}

bool log_trace_goes_on(struct text line)
{
	static const char *const always[] = {
		"Caused by: ", "Suppressed: ", "... ", "Stack trace:", "stack backtrace:",
		"stack traceback:", "note: run with `RUST_BACKTRACE", "#0 ",
		"#1 ",         "#2 ",          NULL
	};
	size_t n = 0;

	while (n < line.len && strchr("}])", line.s[n]))
		n++;
	if (n > 0 && (n == line.len || strchr(",;\r {", line.s[n])))
		return true;
	return begins_any(line, always);
}

bool log_trace_is_go(struct text line)
{
	static const char *const go[] = { "goroutine ",   "created by ", "[signal ",
					  "exit status ", "panic: ",     NULL };
	const char *call = memchr(line.s, '(', line.len), *space = memchr(line.s, ' ', line.len);
	size_t n = line.len > 0 && line.s[line.len - 1] == '\r' ? line.len - 1 : line.len;

	/* "main.work(0x1, 0x2)": a name and its arguments, nothing before or behind. */
	return begins_any(line, go) || (n > 0 && line.s[n - 1] == ')' && is_letter(line.s[0]) && call &&
					(!space || call < space));
}

bool log_trace_chains(struct text line)
{
	static const char *const sentences[] = { "During handling of the above exception",
						 "The above exception was the direct cause", NULL };

	return begins_any(line, sentences);
}

/* The length of a name that ends in Exception, Error or Throwable, before a colon or the end. */
static size_t exception_name(struct text line)
{
	static const char *const ends[] = { "Exception", "Error", "Throwable", NULL };
	size_t n = 0;

	while (n < line.len && (is_word(line.s[n]) || strchr(".$:\\", line.s[n])) &&
	       !(line.s[n] == ':' && (n + 1 == line.len || line.s[n + 1] == ' ')))
		n++;
	if (n < line.len && line.s[n] != ':' && line.s[n] != '\r')
		return 0;
	for (const char *const *end = ends; *end; end++)
		if (n >= strlen(*end) && memcmp(line.s + n - strlen(*end), *end, strlen(*end)) == 0)
			return n;
	return 0;
}

bool log_trace_names_exception(struct text line)
{
	size_t n = exception_name(line);

	return n > 0 && memchr(line.s, '.', n);
}

bool log_trace_may_name_exception(struct text line)
{
	return exception_name(line) > 0;
}

bool log_trace_is_frame(struct text line)
{
	struct text t = text_trim(line);

	return t.len < line.len &&
	       (text_begins(t, "at ") || text_begins(t, "from ") || text_begins(t, "File \""));
}
