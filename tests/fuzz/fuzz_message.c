/*
 * Any JSON as a row of the outbox, with the kind of its channel before it: what people and programs write
 * into alerts, settings and secrets. Checks that each part of it is a request that fits its peer: one line
 * for each header, whole pieces of Telegram's size, mail as RFC 5322 wants it, JSON bodies that parse; and
 * that no value can begin a header of its own.
 */
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/channels/channel.h"
#include "common/channels/message.h"
#include "common/channels/transfer.c" /* the hub has a request_free(), too */
#include "common/json/json_get.h"

enum { PARTS_MAX = 12, BYTES_MAX = 998, UNITS_MAX = 4096 };

#define ID "6b3e0b62-0000-4000-8000-000000000001"

static const char *const kinds[] = { "mail", "slack", "telegram", "ntfy", "pagerduty", "webhook" };

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "broken: %s\n", what);
	abort();
}

static void check_headers(const struct request *r)
{
	for (size_t i = 0; i < r->n_headers; i++)
		must(!memchr(r->header[i].data, '\n', r->header[i].len) &&
			     !memchr(r->header[i].data, '\r', r->header[i].len),
		     "a header of several lines");
}

/* One header of each name that mail_write() knows, lines that end with CRLF, ASCII only. */
static void check_mail(const struct request *r)
{
	static const char *const names[] = { "From:",
					     "To:",
					     "Subject:",
					     "Date:",
					     "Message-ID:",
					     "In-Reply-To:",
					     "References:",
					     "Importance:",
					     "X-Priority:",
					     "Auto-Submitted:",
					     "X-Auto-Response-Suppress:",
					     "MIME-Version:",
					     "Content-Type:",
					     "Content-Transfer-Encoding:" };
	unsigned seen[sizeof names / sizeof *names] = { 0 };
	const char *s = r->body.data, *end = s + r->body.len;
	bool body = false;

	must(r->from.data[0] == '<' && r->to.data[0] == '<' && !memchr(r->to.data, '\n', r->to.len),
	     "addresses");
	while (s < end) {
		const char *eol = memmem(s, (size_t)(end - s), "\r\n", 2);
		bool known = false;

		must(eol && eol - s <= BYTES_MAX, "a line without CRLF, or too long");
		for (const char *c = s; c < eol; c++)
			must((*c >= ' ' && *c < 0x7f) || *c == '\t', "a byte that mail does not have");
		must(*s != '.', "a line that begins with a dot");
		body |= s == eol;
		for (size_t i = 0; i < sizeof names / sizeof *names && !body; i++)
			if (strncmp(s, names[i], strlen(names[i])) == 0) {
				known = true;
				must(++seen[i] == 1, "a header twice");
			}
		must(body || known || *s == ' ', "a header that a value began");
		s = eol + 2;
	}
	must(body, "a mail without a body");
}

static size_t units(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) == 0x80 ? 0 : (unsigned char)*s >= 0xf0 ? 2 : 1;
	return n;
}

/* Of Telegram: no more than it takes, no entity cut in two, and a tag closed that is open. */
static void check_piece(const char *text)
{
	size_t opened = 0, closed = 0;

	must(units(text) <= UNITS_MAX, "a piece that is too long");
	for (const char *at = text; (at = strchr(at, '&')); at++)
		must(strncmp(at, "&amp;", 5) == 0 || strncmp(at, "&lt;", 4) == 0 ||
			     strncmp(at, "&gt;", 4) == 0 || strncmp(at, "&quot;", 6) == 0,
		     "an entity in two pieces");
	for (const char *at = text; (at = strstr(at, "<b>")); at++)
		opened++;
	for (const char *at = text; (at = strstr(at, "</b>")); at++)
		closed++;
	must(opened == closed, "a tag in two pieces");
	for (const char *at = text; (at = strchr(at, '<')); at++)
		must(strncmp(at, "<b>", 3) == 0 || strncmp(at, "</b>", 4) == 0, "a tag of a value");
}

static void check_json(const struct request *r, const char *kind)
{
	struct json_tokener *t = json_tokener_new_ex(64);
	struct json_object *o = json_tokener_parse_ex(t, r->body.data, (int)r->body.len);

	must(o || json_tokener_get_error(t) == json_tokener_error_depth, "a body that is no JSON");
	if (o && strcmp(kind, "telegram") == 0)
		check_piece(json_text(o, "text"));
	if (o && strcmp(kind, "ntfy") == 0)
		must(strlen(json_text(o, "message")) < 4096, "a text that ntfy makes a file of");
	json_object_put(o);
	json_tokener_free(t);
}

static void check_part(const struct message *m, const struct channel_kind *k, size_t part)
{
	struct request r;
	struct err e = { 0 };

	request_init(&r);
	if (k->compose(m, part, &r, &e) < 0) {
		must(e.msg[0], "an error without a sentence");
	} else {
		check_headers(&r);
		if (r.from.len)
			check_mail(&r);
		else
			check_json(&r, k->name);
	}
	request_free(&r);
}

static struct json_object *parse_row(const char *kind, const uint8_t *bytes, size_t size)
{
	struct json_tokener *t = json_tokener_new_ex(20);
	struct json_object *row = json_tokener_parse_ex(t, (const char *)bytes, (int)size);

	json_tokener_free(t);
	if (!json_object_is_type(row, json_type_object) ||
	    !json_object_is_type(json_get(row, "channel"), json_type_object)) {
		json_object_put(row);
		return NULL;
	}
	json_object_object_add(json_get(row, "channel"), "kind", json_object_new_string(kind));
	/* Of the database's type uuid. */
	json_object_object_add(row, "notification_id", json_object_new_string(ID));
	json_object_object_add(row, "group_id", json_object_new_string(ID));
	return row;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *kind = size ? kinds[bytes[0] % (sizeof kinds / sizeof *kinds)] : "";
	const struct channel_kind *k = channel_kind_find(kind);
	struct json_object *row = size > 1 ? parse_row(kind, bytes + 1, size - 1) : NULL;
	struct message m;
	struct err e = { 0 };

	if (!row)
		return 0;
	if (message_make(&m, row, "https://hub.test", &e) < 0) {
		must(e.msg[0], "an error without a sentence");
	} else if (channel_check(&m, k, &e) == 0) {
		size_t parts = k->parts(&m);

		must(!strpbrk(m.title, "\r\n"), "a title of several lines");
		for (size_t i = 0; i < parts && i < PARTS_MAX; i++)
			check_part(&m, k, i);
	}
	message_free(&m);
	return 0;
}
