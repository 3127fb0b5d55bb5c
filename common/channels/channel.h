/*
 * channel.h - the kinds of channels: how a message is made for each, and how answers are read.
 *
 * A kind is a row of the table in channel.c: its settings, and three functions. A message goes to a peer in
 * parts, each of which is one request: recipients of mail, pieces of a long text, alerts of PagerDuty. Leaves
 * out the transfer itself (deliver.h) and when a message is tried again (schema/77-delivery.sql).
 */
#ifndef COMMON_CHANNEL_H
#define COMMON_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/buf.h"
#include "common/err.h"
#include "message.h"

enum {
	CHANNEL_HEADERS_MAX = 8,
	CHANNEL_ANSWER_MAX = 64 * 1024, /* bytes of a body that are read */
	CHANNEL_REASON_MAX = 300,       /* bytes of the peer's own words that are kept */
};

/* One request. Mail is what has a sender. */
struct request {
	struct buf url, body;
	struct buf header[CHANNEL_HEADERS_MAX];
	size_t n_headers;
	struct buf from, to;         /* "<address>" */
	const char *user, *password; /* NULL: no login */
	bool must_encrypt;           /* of mail: STARTTLS or smtps */
	bool trusted;                /* the URL is watch.conf's own: it may lead anywhere */
	size_t answer_max;           /* bytes of a body that are read */
	int64_t connect_before_us;   /* monotonic: later it is not sent; 0: at any time */
};

/* What came back. `status` is HTTP's or SMTP's; 0: the peer gave none. */
struct answer {
	long status;
	struct text body;     /* of HTTP */
	bool cut;             /* the body was longer */
	bool went_out;        /* the request left this machine, at least in part */
	double retry_after_s; /* below 0: the peer asks for nothing */
	const char *said;     /* libcurl's sentence, or SMTP's last line; "": it went well */
	const char *command;  /* of SMTP: the last one; "." is the end of the text */
};

/* THIS_LATER: this part later, the others now. AGAIN: this part at once, changed. */
enum what { ACCEPTED, LATER, THIS_LATER, AGAIN, NOT_THIS_PART, NOT_THIS_MESSAGE, NOT_THIS_CHANNEL };

enum { PART_KEY_SIZE = 328 }; /* an address of mail fits */

struct verdict {
	enum what what;
	double retry_after_s; /* below 0: the peer asks for nothing */
	char why[ERR_MSG_MAX];
};

struct setting {
	const char *name;
	bool required, secret;
	const char *help;
};

struct channel_kind {
	const char *name, *title;
	const struct setting *settings; /* up to one without a name */
	double gap_s;                   /* from one message to the next */
	int at_once;                    /* messages under way, while the peer answers well */
	size_t (*parts)(const struct message *m);
	/* What `progress` calls a part. NULL: its number. */
	void (*key)(const struct message *m, size_t part, char out[PART_KEY_SIZE]);
	int (*compose)(const struct message *m, size_t part, struct request *r, struct err *e);
	/* May change m->progress, as when a chat has moved. */
	void (*judge)(struct message *m, size_t part, const struct answer *a, struct verdict *v);
};

extern const struct channel_kind channel_mail, channel_slack, channel_telegram, channel_ntfy,
	channel_pagerduty, channel_webhook;

/* Their names, up to a NULL. */
extern const char *const channel_kind_names[];

/* NULL: there is no such kind. */
const struct channel_kind *channel_kind_find(const char *name);

/* What is wrong with a value of a setting ("": it is missing)? */
int channel_check_setting(const struct channel_kind *k, const struct setting *s, const char *value,
			  struct err *e);

/* Is a required setting missing, or a URL wrong? */
int channel_check(const struct message *m, const struct channel_kind *k, struct err *e);

/* The rows of the table channel_kinds. */
void channel_kinds_print(FILE *to);

/* "": not given. */
const char *channel_setting(const struct message *m, const char *name);
const char *channel_secret(const struct message *m, const char *name);

#endif
