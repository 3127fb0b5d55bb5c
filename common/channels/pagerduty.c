/* pagerduty.c - PagerDuty's Events API v2: an event for each alert, whose key is the dedup_key. */
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json/json_get.h"
#include "common/utf8.h"
#include "http.h"

enum { SUMMARY_MAX = 1024, SOURCE_MAX = 255 }; /* bytes */

static const struct setting settings[] = {
	{ "url", false, false, "instead of https://events.pagerduty.com/v2/enqueue" },
	{ "routing_key", true, true, "the integration key of a service" },
	{ 0 },
};

static const struct http_row rows[] = {
	{ 400, 400, "routing", NOT_THIS_CHANNEL }, /* "Invalid routing key" */
	{ 401, 401, NULL, NOT_THIS_CHANNEL },
	{ 403, 403, NULL, LATER }, /* as its older API limits the rate */
	{ 404, 404, NULL, NOT_THIS_CHANNEL },
	{ 410, 410, NULL, NOT_THIS_CHANNEL },
	{ 0 },
};

static const struct http_rules rules = { "PagerDuty", "status", NULL, rows };

static struct json_object *alerts_of(const struct message *m)
{
	return json_get(json_get(m->row, "content"), "alerts");
}

static bool about_alerts(const struct message *m)
{
	return message_is(m, "firing") || message_is(m, "resolved");
}

/* A test is triggered and resolved at once. */
static size_t parts(const struct message *m)
{
	return about_alerts(m) ? json_length(alerts_of(m)) : message_is(m, "test") ? 2 : 1;
}

static void add_cut(struct json_object *o, const char *name, const char *s, size_t max)
{
	json_object_object_add(o, name, json_object_new_string_len(s, (int)utf8_cut(s, strlen(s), max)));
}

static struct json_object *details(struct json_object *alert)
{
	static const char *const names[] = { "summary", "value", "value_text", "threshold", "threshold_text",
					     "op",	"since", "resolved_at", "where",     "problem",
					     "labels",	"lines", "runbook" };
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (json_get(alert, names[i]))
			json_object_object_add(o, names[i], json_object_get(json_get(alert, names[i])));
	return o;
}

static struct json_object *payload(const struct message *m, struct json_object *alert)
{
	struct json_object *o = json_object_new_object();
	const char *server = json_text(json_get(alert, "subject"), "server"),
		   *severity = json_text(alert, "severity");

	add_cut(o, "summary", alert ? json_text(alert, "name") : m->title, SUMMARY_MAX);
	add_cut(o, "source", *server ? server : "observ", SOURCE_MAX);
	http_add(o, "severity",
		 !alert && message_is(m, "test")     ? "info"
		 : strcmp(severity, "critical") == 0 ? "critical"
						     : "warning");
	if (alert)
		json_object_object_add(o, "custom_details", details(alert));
	return o;
}

static int compose(const struct message *m, size_t part, struct request *r, struct err *e)
{
	struct json_object *alerts = alerts_of(m), *o = json_object_new_object();
	struct json_object *alert = about_alerts(m) ? json_object_array_get_idx(alerts, part) : NULL;
	const char *url = channel_setting(m, "url"), *key = alert ? json_text(alert, "key") : m->id;
	bool over = alert ? strcmp(json_text(alert, "word"), "RESOLVED") == 0 : part == 1;

	http_add(o, "routing_key", channel_secret(m, "routing_key"));
	http_add(o, "event_action", over ? "resolve" : "trigger");
	http_add(o, "dedup_key", key);
	http_add(o, "client", "Observ");
	if (*json_text(alert, "url"))
		http_add(o, "client_url", json_text(alert, "url"));
	json_object_object_add(o, "payload", payload(m, alert));
	return http_post_json(r, o, *url ? url : "https://events.pagerduty.com/v2/enqueue", e);
}

static void judge(struct message *m, size_t part, const struct answer *a, struct verdict *v)
{
	(void)part;
	http_judge(&rules, m, a, v);
}

const struct channel_kind channel_pagerduty = {
	"pagerduty", "PagerDuty", settings, 0, 4, parts, NULL, compose, judge,
};
