#include "check_body.h"

#include <ctype.h>
#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/utf8.h"

enum {
	HEAD_MAX = 1024,                /* bytes that may name the charset, as in the HTML standard */
	CHARACTER_MAX = 16,             /* bytes of a character with its shift sequence */
	DECODED_PIECE = 4096,
	LABEL_MAX = 40,
};

struct check_body {
	char *want;
	size_t want_len;
	bool found;
	struct buf bytes, text;         /* the last want_len - 1 bytes of the body, and of its text */
	struct buf head;                /* bytes that came before the charset was known */
	bool known;
	iconv_t decoder;                /* NULL: UTF-8, or a charset that is not known */
	char part[CHARACTER_MAX];       /* of a character that is not complete */
	size_t part_len;
};

/* ---- charsets ----------------------------------------------------------------------------- */

/* Names in pages, as plain_label() writes them, and what iconv calls them: the charsets of the web and no
 * others. As in browsers, ISO-8859-1 means windows-1252. */
static const struct {
	const char *label, *name;
} charsets[] = {
	{ "iso88591", "CP1252" }, { "latin1", "CP1252" }, { "l1", "CP1252" }, { "usascii", "CP1252" },
	{ "ascii", "CP1252" }, { "cp1252", "CP1252" },
	{ "iso88599", "CP1254" }, { "latin5", "CP1254" },
	{ "iso885911", "CP874" }, { "tis620", "CP874" }, { "cp874", "CP874" }, { "dos874", "CP874" },
	{ "iso88592", "ISO-8859-2" }, { "latin2", "ISO-8859-2" }, { "iso88593", "ISO-8859-3" },
	{ "iso88594", "ISO-8859-4" }, { "iso88595", "ISO-8859-5" }, { "iso88596", "ISO-8859-6" },
	{ "iso88597", "ISO-8859-7" }, { "iso88598", "ISO-8859-8" }, { "iso88598i", "ISO-8859-8" },
	{ "iso885910", "ISO-8859-10" }, { "latin6", "ISO-8859-10" },
	{ "iso885913", "ISO-8859-13" }, { "iso885914", "ISO-8859-14" }, { "iso885915", "ISO-8859-15" },
	{ "latin9", "ISO-8859-15" }, { "iso885916", "ISO-8859-16" },
	{ "cp1250", "CP1250" }, { "cp1251", "CP1251" }, { "cp1253", "CP1253" }, { "cp1254", "CP1254" },
	{ "cp1255", "CP1255" }, { "cp1256", "CP1256" }, { "cp1257", "CP1257" }, { "cp1258", "CP1258" },
	{ "koi8", "KOI8-R" }, { "koi8r", "KOI8-R" }, { "koi8u", "KOI8-U" }, { "koi8ru", "KOI8-U" },
	{ "ibm866", "CP866" }, { "cp866", "CP866" },
	{ "macintosh", "MACINTOSH" }, { "macroman", "MACINTOSH" }, { "maccyrillic", "MAC-CYRILLIC" },
	{ "gb2312", "GB18030" }, { "gb231280", "GB18030" }, { "gbk", "GB18030" }, { "cp936", "GB18030" },
	{ "gb18030", "GB18030" }, { "big5", "BIG5-HKSCS" }, { "big5hkscs", "BIG5-HKSCS" },
	{ "cp950", "BIG5-HKSCS" }, { "eucjp", "EUC-JP" }, { "iso2022jp", "ISO-2022-JP" },
	{ "shiftjis", "CP932" }, { "sjis", "CP932" }, { "cp31j", "CP932" }, { "cp932", "CP932" },
	{ "ms932", "CP932" },
	{ "euckr", "CP949" }, { "cp949", "CP949" }, { "ksc56011987", "CP949" }, { "ksc56011989", "CP949" },
	{ "utf16", "UTF-16LE" }, { "utf16le", "UTF-16LE" }, { "utf16be", "UTF-16BE" },
};

/* "x-CP1251", "windows-1251" and "cp_1251" are one charset: "cp1251". */
static void plain_label(const char *label, char out[LABEL_MAX])
{
	size_t n = 0;

	if (strncasecmp(label, "x-", 2) == 0)
		label += 2;
	if (strncasecmp(label, "windows", 7) == 0) {
		out[n++] = 'c';
		out[n++] = 'p';
		label += 7;
	}
	for (; *label && n < LABEL_MAX - 1; label++)
		if (*label != '-' && *label != '_')
			out[n++] = (char)tolower((unsigned char)*label);
	out[n] = '\0';
}

/* NULL: the charset is not in the table; then only the bytes are searched. */
static iconv_t decoder_for(const char *label)
{
	char plain[LABEL_MAX];
	iconv_t d = NULL;

	plain_label(label, plain);
	for (size_t i = 0; i < sizeof charsets / sizeof *charsets && !d; i++)
		if (strcmp(charsets[i].label, plain) == 0)
			d = iconv_open("UTF-8", charsets[i].name);
	return (intptr_t)d == -1 ? NULL : d;
}

/* Find `name`="value" in a header, a tag or a declaration. */
static bool parameter(struct text in, const char *name, char ret[LABEL_MAX])
{
	const char *end = in.s + in.len, *s = in.s;
	size_t len = strlen(name), n = 0;

	while ((size_t)(end - s) > len && strncasecmp(s, name, len) != 0)
		s++;
	if ((size_t)(end - s) <= len)
		return false;
	for (s += len; s < end && isspace((unsigned char)*s);)
		s++;
	if (s == end || *s++ != '=')
		return false;
	while (s < end && (isspace((unsigned char)*s) || *s == '"' || *s == '\''))
		s++;
	for (; s < end && (isalnum((unsigned char)*s) || memchr("-_.:", *s, 4)) && n < LABEL_MAX - 1; s++)
		ret[n++] = *s;
	ret[n] = '\0';
	return n > 0;
}

/* From the next `open` in *rest to the next '>'. */
static bool next_tag(struct text *rest, const char *open, struct text *ret)
{
	size_t len = strlen(open);
	const char *close;

	while (rest->len > len && strncasecmp(rest->s, open, len) != 0)
		*rest = (struct text){ rest->s + 1, rest->len - 1 };
	close = rest->len > len ? memchr(rest->s, '>', rest->len) : NULL;
	if (!close)
		return false;
	*ret = (struct text){ rest->s, (size_t)(close - rest->s) };
	*rest = (struct text){ close, rest->len - ret->len };
	return true;
}

static bool named_in_page(struct text page, char ret[LABEL_MAX])
{
	struct text rest = page, tag;
	bool found = false;

	while (!found && next_tag(&rest, "<meta", &tag))
		found = parameter(tag, "charset", ret);
	rest = page;
	if (!found && next_tag(&rest, "<?xml", &tag))
		found = parameter(tag, "encoding", ret);
	if (found && strncasecmp(ret, "utf-16", 6) == 0)
		memcpy(ret, "utf-8", sizeof "utf-8");   /* as UTF-16 it could not have been read */
	return found;
}

static bool marked(const struct buf *head, const char *mark)
{
	size_t n = strlen(mark);

	return head->len >= n && memcmp(head->data, mark, n) == 0;
}

static void find_charset(struct check_body *b, const char *content_type)
{
	char label[LABEL_MAX] = "windows-1252";

	if (marked(&b->head, "\xef\xbb\xbf"))
		snprintf(label, sizeof label, "utf-8");
	else if (marked(&b->head, "\xff\xfe"))
		snprintf(label, sizeof label, "utf-16le");
	else if (marked(&b->head, "\xfe\xff"))
		snprintf(label, sizeof label, "utf-16be");
	else if (!content_type || !parameter(text_of(content_type), "charset", label))
		named_in_page((struct text){ b->head.data, b->head.len }, label);
	b->decoder = decoder_for(label);
	b->known = true;
}

/* ---- looking ------------------------------------------------------------------------------ */

/* Search the new bytes, together with as many before them as may begin the text. */
static void look(struct check_body *b, struct buf *seen, const char *bytes, size_t n)
{
	size_t keep;

	if (b->found || !buf_add(seen, bytes, n))
		return;
	b->found = memmem(seen->data, seen->len, b->want, b->want_len) != NULL;
	keep = seen->len < b->want_len ? seen->len : b->want_len - 1;
	memmove(seen->data, seen->data + seen->len - keep, keep);
	seen->len = keep;
}

/* Decoded text that is searched together: a look at each character would take long. */
struct piece {
	char text[DECODED_PIECE], *end;
	size_t room;
};

static void look_at_piece(struct check_body *b, struct piece *p)
{
	look(b, &b->text, p->text, (size_t)(p->end - p->text));
	p->end = p->text;
	p->room = sizeof p->text;
}

/* iconv() stopped at an invalid byte, or at a character whose rest is still to come. */
static void step_over(struct check_body *b, struct piece *p, char **in, size_t *left, int why)
{
	if (why == EINVAL && *left <= sizeof b->part) {
		memcpy(b->part, *in, *left);
		b->part_len = *left;
		*left = 0;
		return;
	}
	memcpy(p->end, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LEN);
	p->end += UTF8_REPLACEMENT_LEN;
	p->room -= UTF8_REPLACEMENT_LEN;
	(*in)++;
	(*left)--;
}

static void decode(struct check_body *b, const char *bytes, size_t n)
{
	char *in = (char *)bytes;       /* iconv() does not write there */
	struct piece p;
	size_t left = n;

	p.end = p.text;
	p.room = sizeof p.text;
	while (left > 0 && !b->found) {
		size_t r = iconv(b->decoder, &in, &left, &p.end, &p.room);
		int why = r == (size_t)-1 ? errno : 0;

		if (why == E2BIG || p.room < UTF8_REPLACEMENT_LEN)
			look_at_piece(b, &p);
		if (why && why != E2BIG)
			step_over(b, &p, &in, &left, why);
	}
	look_at_piece(b, &p);
}

/* A character may be split between two pieces: its first part goes before the next piece. */
static void decode_piece(struct check_body *b, const char *bytes, size_t n)
{
	char joined[2 * CHARACTER_MAX];

	if (!b->decoder)
		return;
	while (b->part_len > 0 && n > 0) {
		size_t len = b->part_len, more = n < CHARACTER_MAX ? n : CHARACTER_MAX;

		memcpy(joined, b->part, len);
		memcpy(joined + len, bytes, more);
		b->part_len = 0;
		decode(b, joined, len + more);
		bytes += more;
		n -= more;
	}
	decode(b, bytes, n);
}

static void charset_is_known(struct check_body *b, const char *content_type)
{
	find_charset(b, content_type);
	decode_piece(b, b->head.data, b->head.len);
	buf_free(&b->head);
}

bool check_body_take(struct check_body *b, const char *content_type, const char *bytes, size_t n)
{
	size_t to_head = 0;

	look(b, &b->bytes, bytes, n);
	if (!b->known) {
		to_head = n < HEAD_MAX - b->head.len ? n : HEAD_MAX - b->head.len;
		buf_add(&b->head, bytes, to_head);
		if (b->head.len == HEAD_MAX)
			charset_is_known(b, content_type);
	}
	if (b->known)
		decode_piece(b, bytes + to_head, n - to_head);
	return b->found;
}

bool check_body_end(struct check_body *b, const char *content_type)
{
	if (!b->known)
		charset_is_known(b, content_type);
	return b->found;
}

struct check_body *check_body_new(const char *want)
{
	struct check_body *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->want = strdup(want);
	if (!b->want) {
		check_body_free(b);
		return NULL;
	}
	b->want_len = strlen(want);
	b->found = b->want_len == 0;
	b->bytes = b->text = BUF(SIZE_MAX);
	b->head = BUF(HEAD_MAX);
	return b;
}

void check_body_free(struct check_body *b)
{
	if (!b)
		return;
	if (b->decoder)
		iconv_close(b->decoder);
	buf_free(&b->bytes);
	buf_free(&b->text);
	buf_free(&b->head);
	free(b->want);
	free(b);
}
