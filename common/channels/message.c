#include "message.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/embed.h"
#include "common/json/json_get.h"
#include "common/parse.h"
#include "common/template/template.h"
#include "common/utf8.h"
#include "common/visible.h"

EMBED(people_text, "common/channels/message.txt");

enum {
	LINES_MAX = 3,  /* of the log, with an alert */
	LINE_MAX = 500, /* bytes of each */
	NAME_MAX_BYTES = 300,
	SUMMARY_MAX = 4096,
	SUMMARY_SECTIONS_MAX = 1000,    /* renderings of sections in a summary, which people write */
	WHERE_MAX = 400,
};

/* ---- escapes ------------------------------------------------------------------------------ */

/* One character of a value: its own bytes, or what stands for it. Control characters, those that hide or turn
 * text around, and bytes that are not UTF-8 leave a mark; a value is one line. */
static bool add_character(struct buf *out, struct text t, size_t *i, const char *signs,
			  const char *const *instead)
{
	size_t n = utf8_sequence(t.s + *i, t.len - *i);
	char c = t.s[*i];
	const char *at = c ? strchr(signs, c) : NULL;
	uint32_t hidden;

	if (n == 0 || visible_hidden(t, *i, &hidden)) {
		*i += n ? n : 1;
		return buf_add(out, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LEN);
	}
	*i += n;
	if (strchr("\t\r\n", c))
		return buf_addc(out, ' ');
	return at ? buf_adds(out, instead[at - signs]) : buf_add(out, t.s + *i - n, n);
}

static bool add_escaped(struct buf *out, struct text t, const char *signs, const char *const *instead)
{
	size_t mark = out->len;

	for (size_t i = 0; i < t.len;)
		if (!add_character(out, t, &i, signs, instead)) {
			out->len = mark;
			return false;
		}
	return true;
}

static const char *const entities[] = { "&amp;", "&lt;", "&gt;", "&quot;" };

bool message_plain(struct buf *out, struct text t)
{
	return add_escaped(out, t, "", entities);
}

bool message_html(struct buf *out, struct text t)
{
	return add_escaped(out, t, "&<>\"", entities);
}

bool message_mrkdwn(struct buf *out, struct text t)
{
	return add_escaped(out, t, "&<>", entities);
}

/* ---- formatters --------------------------------------------------------------------------- */

/* 92.30000000000001 as 92.3. */
static bool format_number(const void *ctx, struct text in, struct buf *out)
{
	double d;

	(void)ctx;
	return parse_double(in, &d) ? buf_addf(out, "%.6g", d) : buf_add(out, in.s, in.len);
}

/* 2026-11-30T06:00:01.123456+00:00 as 2026-11-30 06:00:01 UTC. */
static bool format_time(const void *ctx, struct text in, struct buf *out)
{
	char utc[RFC3339_SIZE];
	int64_t us;

	(void)ctx;
	if (!parse_rfc3339(in, &us))
		return buf_add(out, in.s, in.len);
	format_rfc3339(utc, us);
	return buf_addf(out, "%.10s %.8s UTC", utc, utc + 11);
}

static template_formatter *find_formatter(const void *ctx, struct text name)
{
	(void)ctx;
	return text_eq(name, TEXT("number")) ? format_number
	       : text_eq(name, TEXT("time")) ? format_time
					     : NULL;
}

/* ---- what templates get ------------------------------------------------------------------- */

static void add_text(struct json_object *o, const char *name, struct text t)
{
	json_object_object_add(o, name, json_object_new_string_len(t.s, (int)t.len));
}

static void add_string(struct json_object *o, const char *name, const char *s)
{
	add_text(o, name, text_of(s));
}

/* Is it said already, or of no use to a reader? */
static bool is_silent_label(const char *name)
{
	return strcmp(name, "server") == 0 || strcmp(name, "rule") == 0 || strcmp(name, "severity") == 0 ||
	       strcmp(name, "mutes") == 0;
}

/* "server web-1, app shop": the subject, or else the labels; the server first. */
static void add_where(struct json_object *alert)
{
	struct json_object *subject = json_get(alert, "subject"), *value;
	CLEANUP(buf_free) struct buf out = BUF(WHERE_MAX);
	struct json_members w;
	const char *server, *key;

	if (json_object_is_type(subject, json_type_object) && !json_object_object_length(subject))
		subject = NULL;
	if (!subject)
		subject = json_get(alert, "labels");
	server = json_text(subject, "server");
	if (*server)
		buf_addf(&out, "server %.*s", (int)utf8_cut(server, strlen(server), WHERE_MAX / 2), server);
	w = json_members(subject);
	while (json_next(&w, &key, &value))
		if (value && !is_silent_label(key) &&
		    !buf_addf(&out, "%s%s %s", out.len ? ", " : "", key, json_object_get_string(value)))
			break;
	add_text(alert, "where", (struct text){ out.data, utf8_cut(out.data, out.len, WHERE_MAX) });
}

/* The database says values with their units; a bare number is said as it is. */
static void complete_number(struct json_object *alert, const char *name, const char *text_name)
{
	struct json_object *value = json_get(alert, name);
	CLEANUP(buf_free) struct buf out = BUF(NAME_MAX_BYTES);

	if (!value || json_object_object_get_ex(alert, text_name, NULL))
		return;
	if (format_number(NULL, text_of(json_object_get_string(value)), &out))
		add_text(alert, text_name, (struct text){ out.data, out.len });
}

static bool is_resolved(struct json_object *alert, const struct message *m)
{
	const char *status = json_text(alert, "status");

	return strcmp(*status ? status : m->kind, "resolved") == 0;
}

static const char *word_of(struct json_object *alert, bool resolved)
{
	return resolved                                                ? "RESOLVED"
	       : strcmp(json_text(alert, "severity"), "critical") == 0 ? "CRITICAL"
								       : "WARNING";
}

/* At most three lines, each cut. */
static void shorten_lines(struct json_object *alert)
{
	struct json_object *lines = json_get(alert, "lines"), *shorter = json_object_new_array();

	for (size_t i = 0; i < json_length(lines) && i < LINES_MAX; i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(lines, i));
		size_t len = s ? strlen(s) : 0;

		if (s)
			json_object_array_add(shorter,
					      json_object_new_string_len(s, (int)utf8_cut(s, len, LINE_MAX)));
	}
	json_object_object_add(alert, "lines", shorter);
}

/* "CPU busy, web-1 shop": the rule, and the values of its subject, the server first. */
static void add_name(struct json_object *alert)
{
	struct json_object *subject = json_get(alert, "subject"), *value;
	const char *rule = json_text(alert, "rule"), *server = json_text(subject, "server"), *key;
	struct json_members w = json_members(subject);
	CLEANUP(buf_free) struct buf out = BUF(2 * NAME_MAX_BYTES);
	bool first = !*server;

	buf_addf(&out, "%.*s%s%.*s", (int)utf8_cut(rule, strlen(rule), NAME_MAX_BYTES), rule,
		 *server ? ", " : "", (int)utf8_cut(server, strlen(server), NAME_MAX_BYTES / 2), server);
	while (json_next(&w, &key, &value)) {
		if (!value || strcmp(key, "server") == 0)
			continue;
		if (!buf_addf(&out, "%s%s", first ? ", " : " ", json_object_get_string(value)))
			break;
		first = false;
	}
	add_text(alert, "name", (struct text){ out.data, utf8_cut(out.data, out.len, NAME_MAX_BYTES) });
}

/* What a summary may name: all of the alert, and each of its labels by itself. */
static struct json_object *summary_data(struct json_object *alert)
{
	struct json_object *data = json_object_new_object();

	json_add_all(data, json_get(alert, "labels"));
	json_add_all(data, json_get(alert, "subject"));
	json_add_all(data, alert);
	return data;
}

/* The summary of a rule is a template. One that is wrong, or repeats its sections for long, stays as it is,
 * so that its mistake is seen. */
static void render_summary(struct json_object *alert)
{
	const struct template_env env = { .formatter = find_formatter, .raw = true, .escape = message_plain,
					  .sections_max = SUMMARY_SECTIONS_MAX };
	const char *summary = json_text(alert, "summary");
	CLEANUP(buf_free) struct buf out = BUF(SUMMARY_MAX);
	struct json_object *data;
	struct err e;

	if (!strstr(summary, "{{"))
		return;
	data = summary_data(alert);
	if (template_render(text_of(summary), data, &env, &out, &e) == 0)
		add_text(alert, "summary", (struct text){ out.data ? out.data : "", out.len });
	json_object_put(data);
}

static void complete_alert(const struct message *m, struct json_object *alert, const char *public_url)
{
	const char *id = json_text(alert, "alert_id");
	bool resolved = is_resolved(alert, m);
	char url[256];

	render_summary(alert);
	add_name(alert);
	add_string(alert, "word", word_of(alert, resolved));
	if (*public_url && *id) {
		snprintf(url, sizeof url, "%.180s/alerts/%.64s", public_url, id);
		add_string(alert, "url", url);
	}
	add_where(alert);
	complete_number(alert, "value", "value_text");
	complete_number(alert, "threshold", "threshold_text");
	shorten_lines(alert);
}

/* The first alerts, those that fire before those that are over; *ret_firing counts all. */
static struct json_object *complete_alerts(const struct message *m, struct json_object *all,
					   const char *public_url, size_t *ret_firing)
{
	struct json_object *shown = json_object_new_array();

	*ret_firing = 0;
	for (int over = 0; over < 2; over++)
		for (size_t i = 0; i < json_length(all); i++) {
			struct json_object *alert = json_object_array_get_idx(all, i);

			if (!json_object_is_type(alert, json_type_object) || is_resolved(alert, m) != over)
				continue;
			*ret_firing += !over;
			complete_alert(m, alert, public_url);
			if (json_length(shown) < MESSAGE_ALERTS_MAX)
				json_object_array_add(shown, json_object_get(alert));
		}
	return shown;
}

/* What was over before anybody was told has only a line. */
static void complete_passed(struct json_object *passed)
{
	for (size_t i = 0; i < json_length(passed); i++) {
		struct json_object *alert = json_object_array_get_idx(passed, i);

		if (json_object_is_type(alert, json_type_object))
			add_name(alert);
	}
}

static void make_title(struct message *m, struct json_object *alerts, size_t firing, size_t all)
{
	struct json_object *first = json_length(alerts) ? json_object_array_get_idx(alerts, 0) : NULL;
	CLEANUP(buf_free) struct buf raw = BUF(4096), out = BUF(4096);
	size_t len;

	if (message_is(m, "test"))
		buf_addf(&raw, "Test of the channel %s", m->channel);
	else if (message_is(m, "channel"))
		buf_addf(&raw, "Channel %s is disabled", json_text(json_get(m->row, "content"), "channel"));
	else
		buf_addf(&raw, "%s: %s", firing ? json_text(first, "word") : "RESOLVED",
			 json_text(first, "name"));
	if (all > 1)
		buf_addf(&raw, " (and %zu more)", all - 1);
	message_plain(&out, (struct text){ raw.data, raw.len });
	len = utf8_cut(out.data, out.len, MESSAGE_TITLE_MAX);
	snprintf(m->title, sizeof m->title, "%.*s%s", (int)len, out.data ? out.data : "",
		 len < out.len ? "..." : "");
}

/* `data` is the content with more members: templates see both. */
static void make_data(struct message *m, const char *public_url)
{
	struct json_object *content = json_get(m->row, "content"), *all = json_get(content, "alerts"),
			   *alerts;
	size_t firing, n = json_length(all);
	char url[256];

	m->data = json_object_new_object();
	json_add_all(m->data, content);
	alerts = complete_alerts(m, all, public_url, &firing);
	make_title(m, alerts, firing, n);
	json_object_object_add(m->data, "alerts", alerts);
	complete_passed(json_get(content, "passed"));
	json_object_object_add(m->data, "content", json_object_get(content));
	json_object_object_add(m->data, "is_test", json_object_new_boolean(message_is(m, "test")));
	json_object_object_add(m->data, "is_repeat",
			       json_object_new_boolean(strcmp(json_text(content, "reason"), "repeat") == 0));
	json_object_object_add(m->data, "is_channel", json_object_new_boolean(message_is(m, "channel")));
	json_object_object_add(m->data, "firing", json_object_new_int64((int64_t)firing));
	json_object_object_add(m->data, "is_firing", json_object_new_boolean(firing > 0));
	if (n > json_length(alerts))
		json_object_object_add(m->data, "left_out",
				       json_object_new_int64((int64_t)(n - json_length(alerts))));
	if (*public_url) {
		snprintf(url, sizeof url, "%.180s/alerts", public_url);
		add_string(m->data, "all_url", url);
	}
	add_string(m->data, "channel", m->channel);
	add_string(m->data, "title", m->title);
	add_string(m->data, "id", m->id);
	add_string(m->data, "status", firing ? "firing" : "resolved");
}

int message_make(struct message *m, struct json_object *row, const char *public_url, struct err *e)
{
	struct json_object *channel = json_get(row, "channel");

	*m = (struct message){ .row = row };
	m->id = json_text(row, "notification_id");
	m->kind = json_text(row, "kind");
	m->channel = json_text(channel, "name");
	m->channel_id = json_text(channel, "channel_id");
	m->channel_kind = json_text(channel, "kind");
	m->settings = json_get(channel, "settings");
	m->secrets = json_get(channel, "secrets");
	if (!json_object_is_type(json_get(row, "progress"), json_type_object))
		json_object_object_add(row, "progress", json_object_new_object());
	m->progress = json_get(row, "progress");
	if (!*m->id || !m->progress)
		return err_set(e, EPROTO, "take_notifications() gave no message");
	make_data(m, public_url);
	return 0;
}

void message_free(struct message *m)
{
	json_object_put(m->data);
	json_object_put(m->row);
	*m = (struct message){ 0 };
}

/* ---- texts -------------------------------------------------------------------------------- */

int message_text(const struct message *m, message_escape *escape, struct buf *out, struct err *e)
{
	const struct template_env env = { .formatter = find_formatter, .raw = true, .escape = escape };

	return template_render((struct text){ people_text, people_text_len }, m->data, &env, out, e);
}

void message_note(struct message *m, const char *what, const char *key)
{
	struct json_object *list = json_get(m->progress, what);

	if (!json_object_is_type(list, json_type_array)) {
		list = json_object_new_array();
		json_object_object_add(m->progress, what, list);
	}
	json_object_array_add(list, json_object_new_string(key));
}

bool message_noted(const struct message *m, const char *what, const char *key)
{
	struct json_object *list = json_get(m->progress, what);

	for (size_t i = 0; i < json_length(list); i++) {
		const char *noted = json_object_get_string(json_object_array_get_idx(list, i));

		if (noted && strcmp(noted, key) == 0)
			return true;
	}
	return false;
}

size_t message_count(const struct message *m, const char *what)
{
	return json_length(json_get(m->progress, what));
}

bool message_is(const struct message *m, const char *kind)
{
	return strcmp(m->kind, kind) == 0;
}
