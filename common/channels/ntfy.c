/* ntfy.c - ntfy, its JSON form: https://docs.ntfy.sh/publish/#publish-as-json */
#include <errno.h>

#include "common/cleanup.h"
#include "common/json/json_get.h"
#include "http.h"

enum { TEXT_MAX = 3900, URGENT = 5, HIGH = 4, NORMAL = 3 }; /* bytes; from 4096 on it becomes a file */

static const struct setting settings[] = {
	{ "url", true, false, "https://ntfy.sh, or your own server" },
	{ "user", false, false, "login, without a token" },
	{ "topic", true, true, "the topic: who knows it may read along" },
	{ "token", false, true, "an access token: tk_..." },
	{ "password", false, true, "of the login" },
	{ 0 },
};

static const struct http_row rows[] = {
	{ 400, 400, "topic", NOT_THIS_CHANNEL }, /* invalid, or disallowed */
	{ 401, 401, NULL, NOT_THIS_CHANNEL },
	{ 403, 404, NULL, NOT_THIS_CHANNEL },
	{ 0 },
};

static const struct http_rules rules = { "ntfy", "id", "error", rows };

static int priority(const struct message *m)
{
	struct json_object *alerts = json_get(m->data, "alerts");

	if (!json_object_get_boolean(json_get(m->data, "is_firing")))
		return NORMAL;
	for (size_t i = 0; i < json_length(alerts); i++)
		if (*json_text(json_object_array_get_idx(alerts, i), "word") == 'C')
			return URGENT;
	return HIGH;
}

static int compose(const struct message *m, size_t part, struct request *r, struct err *e)
{
	CLEANUP(buf_free) struct buf text = BUF(MESSAGE_TEXT_MAX);
	const char *token = channel_secret(m, "token"), *user = channel_setting(m, "user");
	struct json_object *o, *tags;
	int x = http_text(m, message_plain, TEXT_MAX, &text, e);

	(void)part;
	if (x < 0)
		return x;
	o = json_object_new_object();
	http_add(o, "topic", channel_secret(m, "topic"));
	http_add(o, "title", m->title);
	http_add(o, "message", buf_cstr(&text));
	json_object_object_add(o, "priority", json_object_new_int(priority(m)));
	tags = json_object_new_array();
	json_object_array_add(tags, json_object_new_string(priority(m) > NORMAL ? "rotating_light"
										: "white_check_mark"));
	json_object_object_add(o, "tags", tags);
	if (*json_text(m->data, "all_url"))
		http_add(o, "click", json_text(m->data, "all_url"));
	x = http_post_json(r, o, channel_setting(m, "url"), e);
	if (x == 0 && *token)
		x = http_header(r, e, "Authorization: Bearer %s", token);
	if (x == 0 && !*token && *user) {
		r->user = user;
		r->password = channel_secret(m, "password");
	}
	return x;
}

static void judge(struct message *m, size_t part, const struct answer *a, struct verdict *v)
{
	(void)part;
	http_judge(&rules, m, a, v);
}

const struct channel_kind channel_ntfy = {
	"ntfy", "ntfy", settings, 1, 1, http_one_part, NULL, compose, judge,
};
