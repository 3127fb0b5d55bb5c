#include "json.h"

#include <stdint.h>
#include <string.h>

#include "unescaped.h"

static const char REPLACEMENT[] = "\xef\xbf\xbd";       /* U+FFFD */

size_t logcore_json_utf8(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||   /* overlong, surrogate */
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))     /* overlong, above U+10FFFF */
		return 0;
	return n;
}

/* The escape of an ASCII character. */
static size_t escape_ascii(char out[6], unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char letter[0x20] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'
	};
	char two = c < 0x20 ? letter[c] : (char)c;

	if (logcore_is_unescaped(c)) {
		out[0] = (char)c;
		return 1;
	}
	if (two) {
		out[0] = '\\';
		out[1] = two;
		return 2;
	}
	memcpy(out, "\\u00", 4);
	out[4] = hex[c >> 4];
	out[5] = hex[c & 15];
	return 6;
}

/* The JSON text of the character at s, which has *ret_used bytes. */
static size_t escape(char out[6], const char *s, size_t len, size_t *ret_used)
{
	unsigned char c = (unsigned char)*s;
	size_t n;

	*ret_used = 1;
	if (c > 0 && c < 0x80)
		return escape_ascii(out, c);
	n = logcore_json_utf8(s, len);
	if (n == 0) {
		memcpy(out, REPLACEMENT, 3);
		return 3;
	}
	memcpy(out, s, n);
	*ret_used = n;
	return n;
}

/* Write the inside of a string from *to on; stop before `end`, between two characters.
 * Returns how many bytes of s were used. */
static size_t copy_text(char **to, const char *end, const char *s, size_t len)
{
	char *p = *to;
	size_t i = 0, used, n;

	for (;;) {
		char out[6];
		size_t room = (size_t)(end - p);

		n = logcore_unescaped(p, s + i, len - i < room ? len - i : room);
		p += n;
		i += n;
		if (i == len)
			break;
		n = escape(out, s + i, len - i, &used);
		if ((size_t)(end - p) < n)
			break;
		memcpy(p, out, n);
		p += n;
		i += used;
	}
	*to = p;
	return i;
}

/* Not inlined, so that the common case needs no large frame. */
__attribute__((noinline)) static void rest_of_text(struct json *j, const char *end, const char *s, size_t len)
{
	if (copy_text(&j->p, end, s, len) < len)
		j->cut = true;
	*j->p++ = '"';
}

bool logcore_json_text(struct json *j, const char *s, size_t len)
{
	size_t room = (size_t)(j->end - j->p), n = 0;

	if (room < 2) {
		j->cut = true;
		return false;
	}
	room -= 2;
	if (room > j->text_max)
		room = j->text_max;
	*j->p++ = '"';
	if (len <= room)
		n = logcore_unescaped(j->p, s, len);
	j->p += n;
	if (n == len && len <= room)
		*j->p++ = '"';
	else
		rest_of_text(j, j->p - n + room, s + n, len - n);
	return true;
}

char *logcore_json_open(struct json *j)
{
	size_t room = (size_t)(j->end - j->p);

	if (room < 2) {
		j->cut = true;
		return NULL;
	}
	room -= 2;
	*j->p++ = '"';
	return j->p + (room < j->text_max ? room : j->text_max);
}

bool logcore_json_part(struct json *j, const char *end, const char *s, size_t len)
{
	if (copy_text(&j->p, end, s, len) == len)
		return true;
	j->cut = true;
	return false;
}
