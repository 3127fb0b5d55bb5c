/* mail.c - mail: for each recipient a transaction of its own, so that one refusal is not all others'. */
#include <errno.h>
#include <string.h>

#include "channel.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/json/json_get.h"
#include "common/utf8.h"
#include "conceal.h"
#include "http.h"
#include "mail_text.h"

enum { BODY_MAX = 128 * 1024, RECIPIENTS_MAX = 50, SHOWN_MAX = 80 };

static const struct setting settings[] = {
	{ "url", true, false, "smtp://HOST:587 (STARTTLS) or smtps://HOST" },
	{ "from", true, false, "the sender's address" },
	{ "to", true, false, "addresses, with commas between them" },
	{ "user", false, false, "login at the mail server" },
	{ "tls", false, false, "required (default), or none, for this machine's own" },
	{ "password", false, true, "of the login" },
	{ 0 },
};

/* ---- recipients --------------------------------------------------------------------------- */

static struct text recipient(const struct message *m, size_t part)
{
	static const char between[] = ", ;\t";
	const char *s = channel_setting(m, "to");

	for (size_t i = 0;; i++) {
		size_t n;

		s += strspn(s, between);
		n = strcspn(s, between);
		if (i == part || !n)
			return (struct text){ s, n };
		s += n;
	}
}

static size_t parts(const struct message *m)
{
	size_t n = 0;

	while (n < RECIPIENTS_MAX && recipient(m, n).len)
		n++;
	return n;
}

static void key(const struct message *m, size_t part, char out[PART_KEY_SIZE])
{
	struct text to = recipient(m, part);

	snprintf(out, PART_KEY_SIZE, "%.*s", (int)to.len, to.s);
}

/* ---- requests ----------------------------------------------------------------------------- */

static int check(const struct message *m, struct text to, struct err *e)
{
	const char *url = channel_setting(m, "url"), *tls = channel_setting(m, "tls");
	bool known = strncmp(url, "smtp://", 7) == 0 || strncmp(url, "smtps://", 8) == 0;

	if (!known || strchr(url, '@') || strpbrk(url, " ?#"))
		return err_set(e, EINVAL, "the channel's url is not smtp://HOST:PORT or smtps://HOST");
	if (*tls && strcmp(tls, "required") != 0 && strcmp(tls, "none") != 0)
		return err_set(e, EINVAL, "the channel's tls is \"required\" or \"none\", not \"%.40s\"",
			       tls);
	if (!mail_address_valid(text_of(channel_setting(m, "from"))))
		return err_set(e, EINVAL, "the channel's from is not an address, as in observ@example.com");
	if (!mail_address_valid(to))
		return err_set(e, EINVAL,
			       "the channel's to has \"%.*s\", which is not an address in ASCII; "
			       "a domain with other letters has a form that begins with xn--",
			       (int)utf8_cut(to.s, to.len, SHOWN_MAX), to.s);
	return 0;
}

static bool is_urgent(const struct message *m)
{
	return strncmp(m->title, "CRITICAL", 8) == 0;
}

/* A try again has the same Message-ID: many mail servers drop the second one. */
static int write_mail(const struct message *m, size_t part, const char *to, struct buf *out, struct err *e)
{
	CLEANUP(buf_free) struct buf text = BUF(MESSAGE_TEXT_MAX);
	const char *group = json_text(m->row, "group_id");
	char id[128], thread[128] = "";
	struct mail mail;
	int x = http_text(m, message_plain, BODY_MAX, &text, e);

	if (x < 0)
		return x;
	snprintf(id, sizeof id, "%.64s.%zu", m->id, part);
	if (*group)
		snprintf(thread, sizeof thread, "group.%.64s", group);
	mail = (struct mail){ .from = channel_setting(m, "from"),
			      .to = to,
			      .subject = text_of(m->title),
			      .body = { text.data, text.len },
			      .id = id,
			      .thread = thread,
			      .at_us = wall_us(),
			      .urgent = is_urgent(m) };
	return mail_write(&mail, out) ? 0 : err_set(e, ENOMEM, "out of memory");
}

static int compose(const struct message *m, size_t part, struct request *r, struct err *e)
{
	char to[PART_KEY_SIZE];
	int x = check(m, recipient(m, part), e);

	if (x < 0)
		return x;
	key(m, part, to);
	r->must_encrypt = strcmp(channel_setting(m, "tls"), "none") != 0;
	if (*channel_setting(m, "user")) {
		r->user = channel_setting(m, "user");
		r->password = channel_secret(m, "password");
	}
	if (!buf_adds(&r->url, channel_setting(m, "url")) ||
	    !buf_addf(&r->from, "<%s>", channel_setting(m, "from")) || !buf_addf(&r->to, "<%s>", to))
		return err_set(e, ENOMEM, "out of memory");
	return write_mail(m, part, to, &r->body, e);
}

/* ---- answers ------------------------------------------------------------------------------ */

/* What an answer of 5xx to a command means. To others (EHLO, STARTTLS) it may be a server's bad day. */
static const struct {
	const char *command;
	enum what what;
} refusals[] = {
	{ "AUTH", NOT_THIS_CHANNEL }, { "MAIL", NOT_THIS_CHANNEL }, { "RCPT", NOT_THIS_PART },
	{ "DATA", NOT_THIS_MESSAGE }, { ".", NOT_THIS_MESSAGE },
};

/* 552 is about the size of the text, or a recipient's full mailbox (RFC 5321, 4.5.3.1.10). */
enum { SMTP_CLOSES = 421, SMTP_NO_SYNTAX = 500, SMTP_WANTS_LOGIN = 530, SMTP_TOO_MUCH = 552 };

static enum what meaning(const struct answer *a)
{
	bool at_recipient = strcmp(a->command, "RCPT") == 0;

	if (!*a->said)
		return ACCEPTED;
	if (a->status == SMTP_WANTS_LOGIN)
		return NOT_THIS_CHANNEL;
	if (a->status == SMTP_TOO_MUCH)
		return at_recipient ? THIS_LATER : NOT_THIS_MESSAGE;
	for (size_t i = 0; a->status > SMTP_NO_SYNTAX && i < sizeof refusals / sizeof *refusals; i++)
		if (strcmp(a->command, refusals[i].command) == 0)
			return refusals[i].what;
	return at_recipient && a->status >= 400 && a->status != SMTP_CLOSES ? THIS_LATER : LATER;
}

static void judge(struct message *m, size_t part, const struct answer *a, struct verdict *v)
{
	char to[PART_KEY_SIZE], said[CHANNEL_REASON_MAX + 1];

	key(m, part, to);
	conceal(m, text_of(a->said), CHANNEL_REASON_MAX, said);
	v->what = meaning(a);
	v->retry_after_s = -1;
	if (a->status >= 400)
		snprintf(v->why, sizeof v->why, "%s: the mail server answered %s%s%s", to, said,
			 *a->command ? " to " : "", *a->command == '.' ? "the text" : a->command);
	else
		snprintf(v->why, sizeof v->why, "%s: %s", to, said);
}

const struct channel_kind channel_mail = {
	"mail", "E-mail", settings, 0, 4, parts, key, compose, judge,
};
