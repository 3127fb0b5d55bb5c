/*
 * message.h - a message of the outbox, and its texts.
 *
 * Owns the row that take_notifications() gave, what templates add to it, and what became of its parts
 * (in `progress`). docs/alerts.md lists what a template may name. Leaves out how a channel
 * sends it (channel.h).
 */
#ifndef COMMON_MESSAGE_H
#define COMMON_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/text.h"

struct json_object;

enum {
	MESSAGE_TEXT_MAX = 256 * 1024, /* bytes of a rendered text */
	MESSAGE_TITLE_MAX = 240,       /* bytes, with "..." if it was longer */
	MESSAGE_ALERTS_MAX = 50,       /* in one text; the others are counted */
};

struct message {
	struct json_object *row;
	/* Borrowed from the row: */
	const char *id, *kind, *channel, *channel_id, *channel_kind;
	struct json_object *settings, *secrets, *progress;
	struct json_object *data;          /* owned: the content, and what was added for templates */
	char title[MESSAGE_TITLE_MAX + 4]; /* one line, plain */
};

typedef bool message_escape(struct buf *out, struct text t);

/* Takes the row, also on failure. `public_url` is the hub's, or "". */
int message_make(struct message *m, struct json_object *row, const char *public_url, struct err *e);
void message_free(struct message *m);

/* Append the text for people, each value escaped as the channel needs it. */
int message_text(const struct message *m, message_escape *escape, struct buf *out, struct err *e);

/* What became of the parts of a message, by their keys: "accepted" or "refused". */
void message_note(struct message *m, const char *what, const char *key);
bool message_noted(const struct message *m, const char *what, const char *key);
size_t message_count(const struct message *m, const char *what);

bool message_is(const struct message *m, const char *kind);

/* Escapes: nothing but control characters; HTML's; the three signs of Slack. */
bool message_plain(struct buf *out, struct text t);
bool message_html(struct buf *out, struct text t);
bool message_mrkdwn(struct buf *out, struct text t);

#endif
