/*
 * notify.h - the unit's STATUS=, as `systemctl status` shows it.
 *
 * Owns when it is sent: soon after something has changed, else each half minute, and never
 * more often than once a second. Promises that what was said last is in force. Leaves out
 * READY=, RELOADING= and STOPPING=. Without a systemd that listens, all of it does nothing.
 */
#ifndef OBS_AGENT_NOTIFY_H
#define OBS_AGENT_NOTIFY_H

#include <stddef.h>
#include <systemd/sd-event.h>

#include "common/err.h"

struct notify;

enum { NOTIFY_WORDS_SIZE = 3 * ERR_MSG_MAX };

/* Write the words that are true now. */
typedef void (*notify_words_fn)(void *data, char *out, size_t size);

/* *ret is NULL where no systemd listens; the other functions take that. */
int notify_new(sd_event *loop, notify_words_fn words, void *data, struct notify **ret, struct err *e);
void notify_free(struct notify *n);

/* What the words say has changed. */
void notify_changed(struct notify *n);

#endif
