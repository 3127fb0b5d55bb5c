#include "notice_message.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "common/channels/channel.h"
#include "common/parse.h"

/* The rule of the watcher: a test compares them. */
static const struct { const char *name, *kind, *op, *severity, *mutes, *summary; int offline; } rule = {
	.name = "Agent silent",
	.kind = "agent_state",
	.op = ">=",
	.severity = "critical",
	.mutes = "app",
	.summary = "The database does not hear from an agent. See systemctl status 'obs-agent@*' there.",
	.offline = 2,
};

static void add_text(struct json_object *o, const char *name, const char *value)
{
	json_object_object_add(o, name, json_object_new_string(value));
}

static void add_time(struct json_object *o, const char *name, int64_t us)
{
	char when[RFC3339_SIZE];

	if (us)
		format_rfc3339(when, us);
	json_object_object_add(o, name, us ? json_object_new_string(when) : NULL);
}

static struct json_object *subject(const struct config *c)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "app", c->app);
	add_text(o, "server", c->vps_name);
	return o;
}

static struct json_object *labels(const struct config *c)
{
	struct json_object *o = subject(c);

	add_text(o, "rule", rule.name);
	add_text(o, "mutes", rule.mutes);
	add_text(o, "severity", rule.severity);
	return o;
}

static struct json_object *alert(const struct config *c, const struct notice_record *r, bool over,
				 const char *why)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "alert_id", r->id);
	add_text(o, "status", over ? "resolved" : "firing");
	add_text(o, "rule", rule.name);
	add_text(o, "kind", rule.kind);
	add_text(o, "severity", rule.severity);
	json_object_object_add(o, "subject", subject(c));
	json_object_object_add(o, "labels", labels(c));
	json_object_object_add(o, "value", json_object_new_int(over ? 0 : rule.offline));
	add_text(o, "op", rule.op);
	json_object_object_add(o, "threshold", json_object_new_int(rule.offline));
	add_text(o, "value_text", over ? "online" : "offline");
	json_object_object_add(o, "threshold_text", NULL);
	json_object_object_add(o, "problem", over || !*why ? NULL : json_object_new_string(why));
	add_time(o, "since", r->since_us);
	add_time(o, "fired_at", r->told_us);
	add_time(o, "resolved_at", over ? r->over_us : 0);
	json_object_object_add(o, "flapping", json_object_new_boolean(false));
	add_text(o, "summary", rule.summary);
	add_text(o, "runbook", "");
	json_object_object_add(o, "lines", json_object_new_array());
	return o;
}

static struct json_object *content(const struct config *c, const struct notice_record *r, bool over,
				   const char *why)
{
	struct json_object *o = json_object_new_object(), *alerts = json_object_new_array();
	struct json_object *group = json_object_new_object();

	json_object_array_add(alerts, alert(c, r, over, why));
	add_text(group, "rule", rule.name);
	json_object_object_add(o, "version", json_object_new_int(1));
	json_object_object_add(o, "group", group);
	add_text(o, "reason", over ? "all_resolved" : "first");
	add_time(o, "at", over ? r->over_us : r->told_us);
	json_object_object_add(o, "firing", json_object_new_int(!over));
	json_object_object_add(o, "resolved", json_object_new_int(over));
	json_object_object_add(o, "alerts", alerts);
	json_object_object_add(o, "passed", json_object_new_array());
	return o;
}

static bool is_secret(const char *kind, const char *name)
{
	const struct channel_kind *k = channel_kind_find(kind);

	for (const struct setting *s = k ? k->settings : NULL; s && s->name; s++)
		if (strcmp(s->name, name) == 0)
			return s->secret;
	return true;
}

static struct json_object *channel(const struct notify_config *n)
{
	struct json_object *o = json_object_new_object(), *settings = json_object_new_object();
	struct json_object *secrets = json_object_new_object();

	for (const struct notify_setting *s = n->settings; s->name; s++)
		add_text(is_secret(n->channel, s->name) ? secrets : settings, s->name, s->value);
	add_text(o, "name", n->channel);
	add_text(o, "kind", n->channel);
	add_text(o, "channel_id", "");
	json_object_object_add(o, "settings", settings);
	json_object_object_add(o, "secrets", secrets);
	return o;
}

/* Both messages of an absence are a thread of mails. */
struct json_object *notice_message(const struct config *c, const struct notice_record *r, bool over,
				   const char *why)
{
	struct json_object *o = json_object_new_object();
	char id[NOTICE_ID_SIZE + sizeof "-resolved"];

	snprintf(id, sizeof id, "%s-%s", r->id, over ? "resolved" : "firing");
	add_text(o, "notification_id", id);
	add_text(o, "group_id", r->id);
	add_text(o, "kind", over ? "resolved" : "firing");
	add_time(o, "made_at", over ? r->over_us : r->told_us);
	json_object_object_add(o, "channel", channel(&c->notify));
	json_object_object_add(o, "content", content(c, r, over, why));
	return o;
}
