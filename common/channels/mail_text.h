/*
 * mail_text.h - the text of a mail: headers and body as RFC 5322, 2047 and 2045 want them.
 *
 * Promises lines of CRLF below 78 bytes but for the subject's words, no line that begins with a dot, and that
 * no value can begin a header of its own. Pure functions.
 */
#ifndef COMMON_MAIL_TEXT_H
#define COMMON_MAIL_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/text.h"

struct mail {
	const char *from, *to;     /* addresses that mail_address_valid() accepts */
	struct text subject, body; /* UTF-8; the body's lines end with LF */
	const char *id;            /* of the message: letters, digits, '-' and '.' */
	const char *thread;        /* the same of what it belongs to; "": nothing */
	int64_t at_us;
	bool urgent;
};

/* LOCAL@DOMAIN in ASCII, without quotes, comments and blanks. */
bool mail_address_valid(struct text t);

/* Append the mail; false: it does not fit. */
bool mail_write(const struct mail *m, struct buf *out);

#endif
