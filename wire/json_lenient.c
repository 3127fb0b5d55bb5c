#include "json_lenient.h"

#include <ctype.h>
#include <string.h>

#include "common/parse.h"
#include "json_scan.h"

static bool are_hex(struct text t, size_t at, size_t n)
{
	if (at + n > t.len)
		return false;
	for (size_t i = at; i < at + n; i++)
		if (hex_value(t.s[i]) < 0)
			return false;
	return true;
}

/* "\u0022" */
static bool add_code(struct buf *out, unsigned char byte)
{
	static const char hex[] = "0123456789abcdef";
	const char code[] = { '\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15] };

	return buf_add(out, code, sizeof code);
}

/* A backslash in a string, at t.s[i]: how many bytes were taken. */
static size_t repair_escape(struct text t, size_t i, struct buf *out, bool *ok, bool *changed)
{
	char c = i + 1 < t.len ? t.s[i + 1] : '\0';

	if (c == 'x' && are_hex(t, i + 2, 2)) {
		unsigned char byte = (unsigned char)(hex_value(t.s[i + 2]) * 16 + hex_value(t.s[i + 3]));

		*changed = true;
		*ok &= byte < ' ' || byte == '"' || byte == '\\' || byte == 0x7f ? add_code(out, byte)
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

static size_t word_length(struct text t, size_t i)
{
	size_t n = 1;

	while (i + n < t.len && isalnum((unsigned char)t.s[i + n]))
		n++;
	return n;
}

/* Words where a value stands that JSON does not have: they become texts. */
static bool is_foreign(struct text word)
{
	static const char *const words[] = {
		"NaN", "nan", "-Infinity", "Infinity", "-inf", "inf", "undefined"
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (words[i][0] == word.s[0] && text_eq(word, text_of(words[i])))
			return true;
	return false;
}

/* Is the comma at t.s[i] behind the last member? */
static bool closes(struct text t, size_t i)
{
	for (i++; i < t.len && (t.s[i] == ' ' || t.s[i] == '\t' || t.s[i] == '\r' || t.s[i] == '\n');)
		i++;
	return i < t.len && (t.s[i] == '}' || t.s[i] == ']');
}

/* From t.s[i], in a string, to behind its end, or to what a string can't hold. *ret_ended: the first. */
static size_t skip_string(struct text t, size_t i, bool *ret_ended)
{
	const char *end = t.s + t.len, *p = t.s + i;

	for (;;) {
		p = json_plain_end(p, end);
		*ret_ended = p < end && *p == '"';
		if (*ret_ended)
			return (size_t)(p + 1 - t.s);
		if (end - p < 2 || *p != '\\' || !p[1] || !strchr("\"\\/bfnrt", p[1]))
			return (size_t)(p - t.s);
		p += 2;
	}
}

/* From t.s[i] to the first byte that needs a repair. */
static size_t skip_right(struct text t, size_t i, bool *in_string)
{
	while (i < t.len) {
		if (*in_string) {
			bool ended;

			i = skip_string(t, i, &ended);
			*in_string = !ended;
			if (!ended)
				return i;
		} else if (t.s[i] == '-' || isalpha((unsigned char)t.s[i])) {
			size_t n = word_length(t, i);

			if (is_foreign((struct text){ t.s + i, n }))
				return i;
			i += n;
		} else if (t.s[i] == ',' && closes(t, i)) {
			return i;
		} else {
			*in_string = t.s[i++] == '"';
		}
	}
	return i;
}

/* What stands at t.s[i] is repaired; how many bytes it took. */
static size_t repair(struct text t, size_t i, bool in_string, struct buf *out, bool *ok, bool *changed)
{
	size_t n;

	if (in_string && t.s[i] == '\\')
		return repair_escape(t, i, out, ok, changed);
	*changed = true;
	if (in_string) {                /* a control */
		*ok &= add_code(out, (unsigned char)t.s[i]);
		return 1;
	}
	if (t.s[i] == ',')
		return 1;
	n = word_length(t, i);
	*ok &= buf_addc(out, '"') && buf_add(out, t.s + i, n) && buf_addc(out, '"');
	return n;
}

bool json_lenient(struct text t, struct buf *out)
{
	bool in_string = false, ok = true, changed = false;

	for (size_t i = 0; i < t.len && ok;) {
		size_t from = i;

		i = skip_right(t, i, &in_string);
		ok = buf_add(out, t.s + from, i - from);
		if (i < t.len && ok)
			i += repair(t, i, in_string, out, &ok, &changed);
	}
	return ok && changed;
}
