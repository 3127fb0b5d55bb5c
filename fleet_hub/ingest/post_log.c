#include "post_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/json/json.h"
#include "common/parse.h"
#include "fleet_hub/base/conf.h"

enum { LOG_MODE = 0640, ENTRY_MAX = 8 * 1024 * 1024, DEPTH_MAX = 72 };

/* Its payload may be anything, and is not kept: it would fill the disk. */
static bool is_strangers(const struct response *s)
{
	return s->status == 401 || s->status == 403;
}

static struct json_object *parsed(struct text t)
{
	return json_read(t, DEPTH_MAX);
}

static const char *member(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o, name, &v) ? json_object_get_string(v) : "";
}

/* ---- for people ------------------------------------------------------------------------------------ */

/* "web-1: 6 metrics, 4 lines", or why it was refused and which fields do not fit. */
static void say_answer(struct buf *out, const struct response *s, struct json_object *answer)
{
	struct json_object *errors = NULL, *of;

	if (s->status < 300) {
		buf_addf(out, "%s: %s metrics, %s lines", member(answer, "server"), member(answer, "metrics"),
			 member(answer, "logs"));
		if (strcmp(member(answer, "backfill"), "true") == 0)
			buf_adds(out, ", late");
		if (strcmp(member(answer, "duplicate"), "true") == 0)
			buf_adds(out, ", known already");
		return;
	}
	buf_adds(out, member(answer, "detail"));
	json_object_object_get_ex(answer, "errors", &errors);
	for (size_t i = 0; errors && i < json_object_array_length(errors); i++) {
		of = json_object_array_get_idx(errors, i);
		buf_addf(out, "%s %s %s", i ? ";" : "", member(of, "field"), member(of, "message"));
	}
}

/* What a client sends must not move the terminal's cursor. U+0080 to U+009F, which are the bytes C2 80 to
 * C2 9F, do so, too: one of them is ESC [ by itself. */
static void hide_controls(struct buf *out)
{
	unsigned char before = 0;

	for (size_t i = 0; i < out->len; i++) {
		unsigned char c = (unsigned char)out->data[i];

		if (before == 0xc2 && c < 0xa0)
			out->data[i - 1] = out->data[i] = '?';
		else if ((c < 0x20 && c != '\n') || c == 0x7f)
			out->data[i] = '?';
		before = c;
	}
}

static void say(struct buf *out, const struct request *r, const struct response *s, bool pretty)
{
	CLEANUP(json_p) struct json_object *answer = parsed((struct text){ s->body.data, s->body.len });
	CLEANUP(json_p) struct json_object *payload = NULL;
	char time[RFC3339_SIZE];

	format_rfc3339(time, wall_us());
	buf_addf(out, "%s %s POST %s %d, %zu bytes: ", time, r->who.address, r->path, s->status, r->body.len);
	say_answer(out, s, answer);
	buf_addc(out, '\n');
	pretty = pretty && !is_strangers(s);
	if (pretty)
		payload = parsed(r->body);
	if (payload)
		buf_addf(out, "%s\n",
			 json_object_to_json_string_ext(payload, JSON_C_TO_STRING_PRETTY |
									 JSON_C_TO_STRING_SPACED |
									 JSON_C_TO_STRING_NOSLASHESCAPE));
	else if (pretty && r->body.len)
		buf_addf(out, "%.*s\n", (int)r->body.len, r->body.s);
	hide_controls(out);
}

/* ---- for programs ----------------------------------------------------------------------------------- */

/* On one line; what is no JSON, as a string. */
static void add_json(struct buf *out, struct text t)
{
	CLEANUP(json_p) struct json_object *o = parsed(t);

	if (o)
		buf_adds(out, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
									JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		buf_add_json(out, t);
}

static void write_json(struct buf *out, const struct request *r, const struct response *s)
{
	char time[RFC3339_SIZE];

	format_rfc3339(time, wall_us());
	buf_addf(out, "{\"time\":\"%s\",\"address\":", time);
	buf_add_json(out, text_of(r->who.address));
	buf_adds(out, ",\"path\":");
	buf_add_json(out, text_of(r->path));
	buf_addf(out, ",\"status\":%d,\"bytes\":%zu,\"idempotency_key\":", s->status, r->body.len);
	if (r->idempotency_key)
		buf_add_json(out, text_of(r->idempotency_key));
	else
		buf_adds(out, "null");
	buf_adds(out, ",\"answer\":");
	add_json(out, (struct text){ s->body.data, s->body.len });
	buf_adds(out, ",\"payload\":");
	if (is_strangers(s))
		buf_adds(out, "null");
	else
		add_json(out, r->body);
	buf_adds(out, "}\n");
}

/* ---- where it goes ---------------------------------------------------------------------------------- */

static void write_all(int fd, const struct buf *b)
{
	for (size_t at = 0; at < b->len;) {
		ssize_t n = write(fd, b->data + at, b->len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

static void append(const char *path, const struct buf *b)
{
	CLEANUP(close_p) int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, LOG_MODE);

	if (fd < 0)
		fprintf(stderr, "fleet_hub: ingest_log: %s: %s\n", path, strerror(errno));
	else
		write_all(fd, b);
}

void post_log(const struct request *r, const struct response *s)
{
	CLEANUP(buf_free) struct buf out = BUF(ENTRY_MAX);
	const char *path = r->conf->ingest_log;

	if (r->conf->print) {
		say(&out, r, s, strcmp(r->conf->print, "pretty") == 0);
		write_all(STDERR_FILENO, &out);
	}
	if (!*path)
		return;
	buf_reset(&out);
	write_json(&out, r, s);
	if (strcmp(path, "stderr") == 0)
		write_all(STDERR_FILENO, &out);
	else
		append(path, &out);
}
