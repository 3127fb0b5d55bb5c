#include "http.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json/json.h"
#include "common/json/json_get.h"
#include "common/utf8.h"
#include "conceal.h"

#define CUT "\n[...] the rest is left out"

enum { JSON_DEPTH_MAX = 16 };

/* ---- answers ------------------------------------------------------------------------------ */

/* The peer's reason on one line, cut. */
static void reason_of(const struct http_rules *rules, const struct message *m, const struct answer *a,
		      struct json_object *json, char out[CHANNEL_REASON_MAX + 1])
{
	const char *member = rules->reason ? json_text(json, rules->reason) : "";

	conceal(m, *member ? text_of(member) : a->body, CHANNEL_REASON_MAX, out);
}

static bool proven(const struct http_rules *rules, struct json_object *json)
{
	struct json_object *proof = rules->proof ? json_get(json, rules->proof) : NULL;

	return !rules->proof || (proof && json_object_get_boolean(proof));
}

static enum what meaning(const struct http_rules *rules, const struct answer *a, const char *reason,
			 bool proof)
{
	for (const struct http_row *row = rules->rows; row->from; row++)
		if (a->status >= row->from && a->status <= row->to &&
		    (!row->reason || strcasestr(reason, row->reason)))
			return row->what;
	if (a->status >= 200 && a->status < 300)
		return proof ? ACCEPTED : LATER;
	return a->status < 400 || a->status >= 500 || a->status == 408 || a->status == 425 || a->status == 429
		       ? LATER
		       : NOT_THIS_MESSAGE;
}

void http_judge(const struct http_rules *rules, const struct message *m, const struct answer *a,
		struct verdict *v)
{
	CLEANUP(json_p) struct json_object *json = json_read(a->body, JSON_DEPTH_MAX);
	char reason[CHANNEL_REASON_MAX + 1];
	bool proof = proven(rules, json);

	v->retry_after_s = a->retry_after_s;
	if (!a->status) {
		v->what = LATER;
		snprintf(v->why, sizeof v->why, "%.900s", a->said);
		return;
	}
	reason_of(rules, m, a, json, reason);
	v->what = meaning(rules, a, reason, proof);
	snprintf(v->why, sizeof v->why, "%s answered with status %ld%s%s%s", rules->peer, a->status,
		 a->status >= 300 && a->status < 400
			 ? ", a redirect, which is not followed: correct the channel's address"
		 : proof || a->status >= 300 ? ""
					     : ", but not as it does when it accepts",
		 *reason ? ": " : "", reason);
}

/* ---- requests ----------------------------------------------------------------------------- */

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "out of memory");
}

void http_add(struct json_object *o, const char *name, const char *value)
{
	json_object_object_add(o, name, json_object_new_string(value));
}

int http_header(struct request *r, struct err *e, const char *fmt, ...)
{
	struct buf *to = &r->header[r->n_headers];
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= (int)sizeof line || strpbrk(line, "\r\n"))
		return err_set(e, EINVAL, "a header is longer than %zu bytes, or has a line break",
			       sizeof line);
	if (r->n_headers == CHANNEL_HEADERS_MAX)
		return err_set(e, E2BIG, "too many headers");
	*to = BUF(sizeof line);
	if (!buf_adds(to, line) || !buf_cstr(to))
		return no_memory(e);
	r->n_headers++;
	return 0;
}

int http_post_json(struct request *r, struct json_object *body, const char *url, struct err *e)
{
	const char *text =
		json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	bool ok = text && buf_adds(&r->body, text) && buf_adds(&r->url, url);

	json_object_put(body);
	return ok ? http_header(r, e, "Content-Type: application/json; charset=utf-8") : no_memory(e);
}

/* Bytes of the lines that fit: a cut within a line may be within an entity. */
static size_t whole_lines(const struct buf *b, size_t max)
{
	const char *end = memrchr(b->data, '\n', max);

	return end ? (size_t)(end - b->data) : utf8_cut(b->data, b->len, max);
}

int http_text(const struct message *m, message_escape *escape, size_t max, struct buf *out, struct err *e)
{
	int r = message_text(m, escape, out, e);

	if (r < 0)
		return r;
	while (out->len && out->data[out->len - 1] == '\n')
		out->len--;
	if (out->len > max) {
		out->len = whole_lines(out, max - strlen(CUT));
		buf_adds(out, CUT);
	}
	return buf_cstr(out) ? 0 : no_memory(e);
}

size_t http_one_part(const struct message *m)
{
	(void)m;
	return 1;
}
