#include "multiline.h"

#include <ctype.h>
#include <string.h>

enum { PREFIX_TELLS = 128 };            /* so much of an unfinished line tells whether it goes with the record */

/* Where in a trace the record stands: what may come next depends on it. */
enum state { PLAIN, PYTHON_FRAMES, PYTHON_DONE, GO_TRACE };

static bool begins(struct text line, const char *with)
{
	size_t n = strlen(with);

	return line.len >= n && memcmp(line.s, with, n) == 0;
}

static bool begins_any(struct text line, const char *const *with)
{
	for (; *with; with++)
		if (begins(line, *with))
			return true;
	return false;
}

static bool blank(struct text line)
{
	return line.len == 0 || (line.len == 1 && line.s[0] == '\r');
}

static bool indented(struct text line)
{
	return line.len > 0 && (line.s[0] == ' ' || line.s[0] == '\t');
}

bool join_is_object(struct text line)
{
	size_t i = 0;

	while (i < line.len && (line.s[i] == ' ' || line.s[i] == '\t'))
		i++;
	return i < line.len && line.s[i] == '{';
}

/* "java.io.IOException: no such file": a name with dots that ends in what such names end in. */
static bool names_exception(struct text line)
{
	static const char *const ends[] = { "Exception", "Error", "Throwable", NULL };
	size_t n = 0;

	while (n < line.len && (isalnum((unsigned char)line.s[n]) || strchr("._$", line.s[n])))
		n++;
	if (!memchr(line.s, '.', n) || (n < line.len && line.s[n] != ':' && line.s[n] != '\r'))
		return false;
	for (const char *const *end = ends; *end; end++)
		if (n > strlen(*end) && memcmp(line.s + n - strlen(*end), *end, strlen(*end)) == 0)
			return true;
	return false;
}

static enum state first_state(struct text line)
{
	static const char *const go[] = { "panic: ", "fatal error: ", "goroutine ", NULL };

	return begins(line, "Traceback (most recent call last)") ? PYTHON_FRAMES
	     : begins_any(line, go) ? GO_TRACE : PLAIN;
}

static bool continues_go(struct text line)
{
	static const char *const go[] = { "goroutine ", "created by ", "[signal ", "exit status ", "panic: ", NULL };

	const char *call = memchr(line.s, '(', line.len), *space = memchr(line.s, ' ', line.len);
	size_t n = line.s[line.len - 1] == '\r' ? line.len - 1 : line.len;

	/* "main.work(0x1, 0x2)": a name and its arguments, nothing before or behind. */
	return begins_any(line, go) || (n > 0 && line.s[n - 1] == ')' && isalpha((unsigned char)line.s[0]) && call &&
					(!space || call < space));
}

/* Whether the line continues the record. `after_blank`: behind an empty line. */
static bool continues(struct text line, bool after_blank, enum state *state)
{
	static const char *const always[] = { "Caused by: ", "Suppressed: ", "... ", NULL };
	static const char *const chained[] = { "During handling of the above exception",
					       "The above exception was the direct cause", NULL };

	if (join_is_object(line))
		return false;
	if (begins_any(line, chained)) {
		*state = PLAIN;
		return true;
	}
	if (begins(line, "Traceback (most recent call last)")) {
		bool another = *state == PYTHON_DONE;

		*state = PYTHON_FRAMES;
		return !another;
	}
	if (*state == GO_TRACE)
		return indented(line) || continues_go(line);
	if (after_blank)
		return false;
	if (indented(line))
		return true;
	if (*state == PYTHON_FRAMES) {
		*state = PYTHON_DONE;   /* the line that names the exception is the last */
		return true;
	}
	return begins_any(line, always) || names_exception(line);
}

size_t join_record(struct text t, bool *ret_open)
{
	const char *newline = memchr(t.s, '\n', t.len);
	size_t end = (size_t)(newline - t.s), at = end + 1;
	enum state state = first_state((struct text){ t.s, end });
	bool after_blank = false;

	*ret_open = false;
	for (int lines = 1; lines < JOIN_LINES_MAX; lines++) {
		struct text line = { t.s + at, t.len - at };

		newline = at < t.len ? memchr(line.s, '\n', line.len) : NULL;
		if (newline)
			line.len = (size_t)(newline - line.s);
		if (at + line.len > JOIN_BYTES_MAX)
			return end;
		if (!newline && line.len < PREFIX_TELLS && !join_is_object(line)) {
			*ret_open = true;
			return end;
		}
		if (blank(line)) {
			after_blank = true;
		} else if (!continues(line, after_blank, &state)) {
			return end;
		} else if (!newline) {
			*ret_open = true;
			return end;
		} else {
			end = at + line.len;
			after_blank = false;
		}
		at += line.len + 1;
	}
	return end;
}
