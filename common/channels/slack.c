/* slack.c - Slack, by an incoming webhook, or as a bot by chat.postMessage. */
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json/json_get.h"
#include "http.h"

enum { TEXT_MAX = 30000 }; /* bytes; Slack cuts at 40,000 characters */

static const struct setting settings[] = {
	{ "channel", false, false, "where a bot writes; a webhook has its own" },
	{ "api_url", false, false, "instead of https://slack.com/api" },
	{ "url", false, true, "an incoming webhook, https://hooks.slack.com/..." },
	{ "token", false, true, "of a bot: xoxb-..." },
	{ 0 },
};

/* https://api.slack.com/messaging/webhooks#handling_errors */
static const struct http_row hook_rows[] = {
	{ 400, 400, "invalid_token", NOT_THIS_CHANNEL },
	{ 400, 400, "_not_found", NOT_THIS_CHANNEL }, /* of a user or a channel */
	{ 400, 400, "no_service", NOT_THIS_CHANNEL },
	{ 400, 400, "no_active_hooks", NOT_THIS_CHANNEL },
	{ 400, 400, "no_team", NOT_THIS_CHANNEL },
	{ 400, 400, "team_disabled", NOT_THIS_CHANNEL },
	{ 400, 400, "is_archived", NOT_THIS_CHANNEL },
	{ 400, 400, "action_prohibited", NOT_THIS_CHANNEL },
	{ 400, 400, "_denied", NOT_THIS_CHANNEL }, /* posting_to_general_channel_denied */
	{ 401, 401, NULL, NOT_THIS_CHANNEL },
	{ 403, 404, NULL, NOT_THIS_CHANNEL },
	{ 410, 410, NULL, NOT_THIS_CHANNEL },
	{ 0 },
};

/* chat.postMessage says 200 and {"ok": false, "error": ...}. What is not here passes. */
static const struct http_row bot_rows[] = {
	{ 200, 200, "invalid_auth", NOT_THIS_CHANNEL },
	{ 200, 200, "not_authed", NOT_THIS_CHANNEL },
	{ 200, 200, "account_inactive", NOT_THIS_CHANNEL },
	{ 200, 200, "token_revoked", NOT_THIS_CHANNEL },
	{ 200, 200, "token_expired", NOT_THIS_CHANNEL },
	{ 200, 200, "missing_scope", NOT_THIS_CHANNEL },
	{ 200, 200, "no_permission", NOT_THIS_CHANNEL },
	{ 200, 200, "channel_not_found", NOT_THIS_CHANNEL },
	{ 200, 200, "not_in_channel", NOT_THIS_CHANNEL },
	{ 200, 200, "is_archived", NOT_THIS_CHANNEL },
	{ 200, 200, "restricted_action", NOT_THIS_CHANNEL },
	{ 200, 200, "_denied", NOT_THIS_CHANNEL }, /* posting_to_general_channel_, ekm_access_ */
	{ 200, 200, "not_allowed_token_type", NOT_THIS_CHANNEL },
	{ 200, 200, "access_not_granted", NOT_THIS_CHANNEL },
	{ 200, 200, "user_is_restricted", NOT_THIS_CHANNEL },
	{ 200, 200, "cannot_dm_bot", NOT_THIS_CHANNEL },
	{ 200, 200, "messages_tab_disabled", NOT_THIS_CHANNEL },
	{ 200, 200, "msg_too_long", NOT_THIS_MESSAGE },
	{ 200, 200, "no_text", NOT_THIS_MESSAGE },
	{ 200, 200, "invalid_arg", NOT_THIS_MESSAGE },
	{ 200, 200, "invalid_json", NOT_THIS_MESSAGE },
	{ 401, 404, NULL, NOT_THIS_CHANNEL },
	{ 0 },
};

/* The body of a webhook's answer is the word "ok", which is no JSON: no other answer has a proof. */
static const struct http_rules hook_rules = { "Slack", "ok", NULL, hook_rows };
static const struct http_rules bot_rules = { "Slack", "ok", "error", bot_rows };

static bool by_bot(const struct message *m)
{
	return *channel_secret(m, "token");
}

static int compose(const struct message *m, size_t part, struct request *r, struct err *e)
{
	const char *api = channel_setting(m, "api_url"), *url = channel_secret(m, "url");
	CLEANUP(buf_free) struct buf text = BUF(MESSAGE_TEXT_MAX);
	struct json_object *o;
	char method[512];
	int x;

	(void)part;
	if (!by_bot(m) && !*url)
		return err_set(e, EINVAL,
			       "the channel has neither url, of an incoming webhook, nor token, of a bot");
	if (by_bot(m) && !*channel_setting(m, "channel"))
		return err_set(e, EINVAL, "the channel has a token, but no channel to write to");
	if (!buf_addc(&text, '*') || !message_mrkdwn(&text, text_of(m->title)) || !buf_adds(&text, "*\n"))
		return err_set(e, ENOMEM, "out of memory");
	x = http_text(m, message_mrkdwn, TEXT_MAX, &text, e);
	if (x < 0)
		return x;
	o = json_object_new_object();
	http_add(o, "text", buf_cstr(&text));
	json_object_object_add(o, "unfurl_links", json_object_new_boolean(false));
	if (!by_bot(m))
		return http_post_json(r, o, url, e);
	http_add(o, "channel", channel_setting(m, "channel"));
	snprintf(method, sizeof method, "%.480s/chat.postMessage", *api ? api : "https://slack.com/api");
	x = http_post_json(r, o, method, e);
	return x < 0 ? x : http_header(r, e, "Authorization: Bearer %s", channel_secret(m, "token"));
}

static void judge(struct message *m, size_t part, const struct answer *a, struct verdict *v)
{
	(void)part;
	http_judge(by_bot(m) ? &bot_rules : &hook_rules, m, a, v);
	if (!by_bot(m) && a->status == 200 && text_eq(a->body, TEXT("ok")))
		v->what = ACCEPTED;
}

const struct channel_kind channel_slack = {
	"slack", "Slack", settings, 1, 1, http_one_part, NULL, compose, judge,
};
