#include "json_lenient.h"

#include <ctype.h>
#include <string.h>

#include "common/parse.h"

static bool are_hex(struct text t, size_t at, size_t n)
{
	if (at + n > t.len)
		return false;
	for (size_t i = at; i < at + n; i++)
		if (hex_value(t.s[i]) < 0)
			return false;
	return true;
}

/* A backslash in a string, at t.s[i]: how many bytes were taken. */
static size_t repair_escape(struct text t, size_t i, struct buf *out, bool *ok, bool *changed)
{
	char c = i + 1 < t.len ? t.s[i + 1] : '\0';

	if (c == 'x' && are_hex(t, i + 2, 2)) {
		unsigned byte = (unsigned)(hex_value(t.s[i + 2]) * 16 + hex_value(t.s[i + 3]));

		*changed = true;
		*ok &= byte < ' ' || byte == '"' || byte == '\\' || byte == 0x7f
			       ? buf_addf(out, "\\u%04x", byte)
			       : buf_addc(out, (char)byte);
		return 4;
	}
	if ((c && strchr("\"\\/bfnrt", c)) || (c == 'u' && are_hex(t, i + 2, 4))) {
		*ok &= buf_add(out, t.s + i, 2);
		return 2;
	}
	*changed = true;
	*ok &= buf_adds(out, "\\\\");
	return 1;
}

/* A word where a value stands. */
static size_t repair_word(struct text t, size_t i, struct buf *out, bool *ok, bool *changed)
{
	static const char *const words[] = {
		"NaN", "nan", "-Infinity", "Infinity", "-inf", "inf", "undefined"
	};

	for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
		size_t n = strlen(words[w]);

		if (t.len - i < n || memcmp(t.s + i, words[w], n) != 0 ||
		    (i + n < t.len && isalnum((unsigned char)t.s[i + n])))
			continue;
		*changed = true;
		*ok &= buf_addf(out, "\"%s\"", words[w]);
		return n;
	}
	*ok &= buf_addc(out, t.s[i]);
	return 1;
}

/* Is the comma at t.s[i] behind the last member? */
static bool closes(struct text t, size_t i)
{
	for (i++; i < t.len && strchr(" \t\r\n", t.s[i]);)
		i++;
	return i < t.len && (t.s[i] == '}' || t.s[i] == ']');
}

bool json_lenient(struct text t, struct buf *out)
{
	bool in_string = false, ok = true, changed = false;

	for (size_t i = 0; i < t.len && ok;) {
		char c = t.s[i];

		if (in_string && c == '\\') {
			i += repair_escape(t, i, out, &ok, &changed);
			continue;
		}
		if (in_string && (unsigned char)c < ' ') {
			changed = true;
			ok &= buf_addf(out, "\\u%04x", (unsigned char)c);
		} else if (!in_string && c == ',' && closes(t, i)) {
			changed = true;
		} else if (!in_string && (isalpha((unsigned char)c) || c == '-')) {
			i += repair_word(t, i, out, &ok, &changed);
			continue;
		} else {
			in_string ^= c == '"';
			ok &= buf_addc(out, c);
		}
		i++;
	}
	return ok && changed;
}
