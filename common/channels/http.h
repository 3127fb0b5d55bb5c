/*
 * http.h - what the kinds share that speak HTTP: bodies of JSON, and reading answers by a table.
 *
 * An answer of 2xx counts as accepted only if it shows that the peer itself answered: a login page of some
 * network does, too.
 */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include <json-c/json.h>

#include "channel.h"

/* What answers with a status from..to mean, if the peer's reason has that text (NULL: whatever it is). */
struct http_row {
	long from, to;
	const char *reason;
	enum what what;
};

struct http_rules {
	const char *peer;   /* its name in messages */
	const char *proof;  /* member of the JSON answer that is true when it is accepted; NULL: none */
	const char *reason; /* member that says why not; NULL: the body does */
	const struct http_row *rows; /* the first that fits; up to one without a status. Then the default */
};

/* By default 408, 425, 429, 3xx and 5xx mean later, and other 4xx that this message is refused. */
void http_judge(const struct http_rules *rules, const struct message *m, const struct answer *a,
		struct verdict *v);

/* POST `body` (taken) to `url`. */
int http_post_json(struct request *r, struct json_object *body, const char *url, struct err *e);
int http_header(struct request *r, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The text for people, cut to `max` bytes with a mark. The caller frees out. */
int http_text(const struct message *m, message_escape *escape, size_t max, struct buf *out, struct err *e);

void http_add(struct json_object *o, const char *name, const char *value);

size_t http_one_part(const struct message *m);

#endif
