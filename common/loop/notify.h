/*
 * notify.h - the unit's STATUS=, which `systemctl status` shows.
 *
 * Owns when it is sent: within a second after a change, else every 30 s, and at most once a second.
 * Leaves out READY=, RELOADING= and STOPPING=. Does nothing when no systemd listens.
 */
#ifndef OBSERV_NOTIFY_H
#define OBSERV_NOTIFY_H

#include <stddef.h>
#include <systemd/sd-event.h>

#include "common/err.h"

struct notify;

enum { NOTIFY_WORDS_SIZE = 3 * ERR_MSG_MAX };

/* Write the text that describes the state now. */
typedef void (*notify_words_fn)(void *data, char *out, size_t size);

/* *ret is NULL when no systemd listens; the other functions accept NULL. */
int notify_new(sd_event *loop, notify_words_fn words, void *data, struct notify **ret, struct err *e);
void notify_free(struct notify *n);

/* The state has changed: send the text soon. */
void notify_changed(struct notify *n);

/* Only figures have changed: send the text now if the last one is half a minute old. */
void notify_refresh(struct notify *n);

#endif
