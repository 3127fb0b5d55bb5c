#include "mail_text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/utf8.h"

enum {
	ADDRESS_MAX = 320,
	LINE_MAX = 75, /* of quoted-printable, before its "=" */
	WORD_MAX = 75, /* of an encoded word, with its frame */
};

#define WORD_OPEN  "=?UTF-8?Q?"
#define WORD_CLOSE "?="

bool mail_address_valid(struct text t)
{
	const char *at = t.len ? memchr(t.s, '@', t.len) : NULL;

	if (!at || at == t.s || at == t.s + t.len - 1 || t.len > ADDRESS_MAX)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		char c = t.s[i];

		if (c <= ' ' || c >= 0x7f || strchr("<>()[],;:\\\"", c) || (c == '@' && t.s + i != at))
			return false;
	}
	return true;
}

/* ---- subject ------------------------------------------------------------------------------ */

static bool plain_subject(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (t.s[i] < ' ' || t.s[i] >= 0x7f)
			return false;
	return !t.len || !memmem(t.s, t.len, "=?", 2);
}

/* A byte of an encoded word. */
static bool add_word_byte(struct buf *out, unsigned char c)
{
	bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

	return plain ? buf_addc(out, (char)c) : c == ' ' ? buf_addc(out, '_') : buf_addf(out, "=%02X", c);
}

static size_t word_size(struct text t)
{
	size_t n = 0;

	for (size_t i = 0; i < t.len; i++) {
		unsigned char c = (unsigned char)t.s[i];

		n += (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == ' '
			     ? 1
			     : 3;
	}
	return n;
}

static size_t character(struct text t, size_t i)
{
	size_t n = 1;

	while (i + n < t.len && ((unsigned char)t.s[i + n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* Encoded words hold whole characters (RFC 2047, 5.3), and lines are folded between them. */
static bool add_subject(struct buf *out, struct text t)
{
	const size_t frame = strlen(WORD_OPEN WORD_CLOSE);
	size_t used = 0;
	bool ok = buf_adds(out, "Subject: ");

	if (plain_subject(t))
		return ok && buf_add(out, t.s, t.len) && buf_adds(out, "\r\n");
	ok = ok && buf_adds(out, WORD_OPEN);
	for (size_t i = 0, n; i < t.len && ok; i += n) {
		size_t size;

		n = character(t, i);
		size = word_size((struct text){ t.s + i, n });
		if (used + size + frame > WORD_MAX - sizeof "Subject:") {
			ok = ok && buf_adds(out, WORD_CLOSE "\r\n " WORD_OPEN);
			used = 0;
		}
		for (size_t k = 0; k < n && ok; k++)
			ok = add_word_byte(out, (unsigned char)t.s[i + k]);
		used += size;
	}
	return ok && buf_adds(out, WORD_CLOSE "\r\n");
}

/* ---- body --------------------------------------------------------------------------------- */

/* Must the byte be written as =XX? A dot or "From" at the beginning of a line would be changed on its way,
 * and blanks at its end be lost. */
static bool quoted(struct text t, size_t i, bool first)
{
	unsigned char c = (unsigned char)t.s[i];
	bool last = i + 1 == t.len || t.s[i + 1] == '\n';

	return c == '=' || c >= 0x7f || (c < ' ' && c != '\t') ||
	       (first && (c == '.' || c == 'F' || c == '-')) || (last && (c == ' ' || c == '\t'));
}

static bool add_body(struct buf *out, struct text t)
{
	size_t column = 0;
	bool ok = true;

	for (size_t i = 0; i < t.len && ok; i++) {
		bool quote = quoted(t, i, column == 0);

		if (t.s[i] == '\n') {
			ok = buf_adds(out, "\r\n");
			column = 0;
			continue;
		}
		if (column + (quote ? 3 : 1) > LINE_MAX) {
			ok = buf_adds(out, "=\r\n");
			column = 0;
			quote = quoted(t, i, true);
		}
		ok = ok && (quote ? buf_addf(out, "=%02X", (unsigned char)t.s[i]) : buf_addc(out, t.s[i]));
		column += quote ? 3 : 1;
	}
	return ok && (column == 0 || buf_adds(out, "\r\n"));
}

/* ---- the whole ---------------------------------------------------------------------------- */

static bool add_date(struct buf *out, int64_t at_us)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t at = (time_t)(at_us / US_PER_S);
	struct tm tm;

	return gmtime_r(&at, &tm) &&
	       buf_addf(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday,
			months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

bool mail_write(const struct mail *m, struct buf *out)
{
	const char *domain = strchr(m->from, '@') + 1;

	return buf_addf(out, "From: Observ <%s>\r\nTo: <%s>\r\n", m->from, m->to) &&
	       add_subject(out, m->subject) && add_date(out, m->at_us) &&
	       buf_addf(out, "Message-ID: <%s@%s>\r\n", m->id, domain) &&
	       (!*m->thread || buf_addf(out, "In-Reply-To: <%s@%s>\r\nReferences: <%s@%s>\r\n", m->thread,
					domain, m->thread, domain)) &&
	       (!m->urgent || buf_adds(out, "Importance: high\r\nX-Priority: 1\r\n")) &&
	       buf_adds(out, "Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\n"
			     "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
			     "Content-Transfer-Encoding: quoted-printable\r\n\r\n") &&
	       add_body(out, m->body);
}
