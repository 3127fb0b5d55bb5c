/* telegram.c - Telegram's Bot API: sendMessage, in pieces that are small enough. */
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json/json.h"
#include "common/json/json_get.h"
#include "http.h"

enum {
	PIECE_MAX = 4096, /* UTF-16 code units, as the API counts */
	PIECES_MAX = 10,
	ENTITY_MAX = 8, /* bytes of "&quot;", and more */
};

static const struct setting settings[] = {
	{ "chat_id", true, false, "a chat's number, or @name of a channel" },
	{ "thread_id", false, false, "a topic of the chat" },
	{ "api_url", false, false, "instead of https://api.telegram.org" },
	{ "token", true, true, "of the bot: 123456:ABC..." },
	{ 0 },
};

static const struct http_row rows[] = {
	{ 400, 400, "chat not found", NOT_THIS_CHANNEL },
	{ 400, 400, "chat_id is empty", NOT_THIS_CHANNEL },
	{ 400, 400, "thread not found", NOT_THIS_CHANNEL },
	{ 400, 400, "have no rights", NOT_THIS_CHANNEL },
	{ 400, 400, "not enough rights", NOT_THIS_CHANNEL },
	{ 400, 400, "need administrator rights", NOT_THIS_CHANNEL },
	{ 400, 400, "_FORBIDDEN", NOT_THIS_CHANNEL }, /* CHAT_WRITE_, CHAT_SEND_PLAIN_ */
	{ 400, 400, "CHAT_ADMIN_REQUIRED", NOT_THIS_CHANNEL },
	{ 400, 400, "CHAT_RESTRICTED", NOT_THIS_CHANNEL },
	{ 400, 400, "CHANNEL_PRIVATE", NOT_THIS_CHANNEL },
	{ 400, 400, "PEER_ID_INVALID", NOT_THIS_CHANNEL },
	{ 400, 400, "USER_IS_BLOCKED", NOT_THIS_CHANNEL },
	{ 400, 400, "TOPIC_", NOT_THIS_CHANNEL }, /* CLOSED, DELETED */
	{ 400, 400, "user not found", NOT_THIS_CHANNEL },
	{ 400, 400, "chat was deactivated", NOT_THIS_CHANNEL },
	{ 401, 404, NULL, NOT_THIS_CHANNEL }, /* 404: no such token */
	{ 0 },
};

static const struct http_rules rules = { "Telegram", "ok", "description", rows };

/* ---- pieces ------------------------------------------------------------------------------- */

/* Code units of UTF-16 that begin with this byte of UTF-8. */
static size_t units(char c)
{
	unsigned char u = (unsigned char)c;

	return (u & 0xc0) == 0x80 ? 0 : u >= 0xf0 ? 2 : 1;
}

/* Not between "&" and ";". */
static size_t before_entity(struct text t, size_t end)
{
	for (size_t i = end; i > 0 && end - i < ENTITY_MAX && t.s[i - 1] != ';'; i--)
		if (t.s[i - 1] == '&')
			return i - 1;
	return end;
}

/* Length of the next piece: up to the last line that fits, else the last word, else as many characters. */
static size_t piece_length(struct text t)
{
	size_t n = 0, end = 0;

	for (; end < t.len && (n += units(t.s[end])) <= PIECE_MAX; end++)
		;
	if (end == t.len)
		return end;
	for (size_t i = end; i > end / 2; i--)
		if (t.s[i - 1] == '\n')
			return i;
	for (size_t i = end; i > end / 2; i--)
		if (t.s[i - 1] == ' ')
			return i;
	return before_entity(t, end);
}

static int render(const struct message *m, struct buf *out, struct err *e)
{
	if (!buf_adds(out, "<b>") || !message_html(out, text_of(m->title)) || !buf_adds(out, "</b>\n"))
		return err_set(e, ENOMEM, "out of memory");
	return http_text(m, message_html, (size_t)PIECE_MAX * (PIECES_MAX - 1), out, e);
}

/* The part-th piece; its length is 0 behind the last one. */
static struct text piece(const struct buf *all, size_t part)
{
	struct text rest = { all->data, all->len }, t = { NULL, 0 };

	for (size_t i = 0; i <= part; i++) {
		t = (struct text){ rest.s, piece_length(rest) };
		rest = (struct text){ rest.s + t.len, rest.len - t.len };
	}
	return t;
}

static size_t parts(const struct message *m)
{
	CLEANUP(buf_free) struct buf all = BUF(MESSAGE_TEXT_MAX);
	struct err e;
	size_t n = 1;

	if (render(m, &all, &e) < 0)
		return 1;
	while (piece(&all, n).len)
		n++;
	return n;
}

/* ---- requests ----------------------------------------------------------------------------- */

static int compose(const struct message *m, size_t part, struct request *r, struct err *e)
{
	CLEANUP(buf_free) struct buf all = BUF(MESSAGE_TEXT_MAX);
	const char *api = channel_setting(m, "api_url"), *moved = json_text(m->progress, "chat_id");
	const char *thread = channel_setting(m, "thread_id");
	struct json_object *o, *preview;
	struct text text;
	char url[1024];
	int x = render(m, &all, e);

	if (x < 0)
		return x;
	text = piece(&all, part);
	o = json_object_new_object();
	http_add(o, "chat_id", *moved ? moved : channel_setting(m, "chat_id"));
	if (*thread)
		http_add(o, "message_thread_id", thread);
	json_object_object_add(o, "text", json_object_new_string_len(text.s, (int)text.len));
	http_add(o, "parse_mode", "HTML");
	preview = json_object_new_object();
	json_object_object_add(preview, "is_disabled", json_object_new_boolean(true));
	json_object_object_add(o, "link_preview_options", preview);
	snprintf(url, sizeof url, "%.480s/bot%.400s/sendMessage", *api ? api : "https://api.telegram.org",
		 channel_secret(m, "token"));
	return http_post_json(r, o, url, e);
}

/* The chat became a supergroup with another number; retry_after is in the body. A proxy on the way may answer
 * with 200 whatever the API says. */
static void judge(struct message *m, size_t part, const struct answer *a, struct verdict *v)
{
	CLEANUP(json_p) struct json_object *body = json_read(a->body, JSON_TOKENER_DEFAULT_DEPTH);
	struct json_object *parameters = json_get(body, "parameters");
	const char *chat = json_text(parameters, "migrate_to_chat_id");
	struct json_object *after = json_get(parameters, "retry_after");
	int code = json_object_get_int(json_get(body, "error_code"));
	struct answer meant = *a;

	(void)part;
	if (a->status == 200 && code >= 400)
		meant.status = code;
	http_judge(&rules, m, &meant, v);
	if (meant.status == 429 && after)
		v->retry_after_s = json_object_get_double(after);
	if (meant.status == 400 && *chat && !*json_text(m->progress, "chat_id")) {
		http_add(m->progress, "chat_id", chat);
		v->what = AGAIN;
	}
}

const struct channel_kind channel_telegram = {
	"telegram", "Telegram", settings, 1, 1, parts, NULL, compose, judge,
};
