/*
 * status.h - what `obs_agent status` asks a running agent over a unix socket.
 *
 * Protocol: connect, read one JSON object to the end. The socket is
 * status.sock in $RUNTIME_DIRECTORY, else in /run/obs-agent/APP.
 */
#ifndef OBS_AGENT_STATUS_H
#define OBS_AGENT_STATUS_H

#include <stdbool.h>
#include <stdio.h>
#include <systemd/sd-event.h>

#include "common/buf.h"
#include "common/err.h"

struct status_server;

typedef bool (*status_fn)(void *data, struct buf *out);

/* Listen; `fn` makes each answer. A folder that is not there is no failure: 0
 * and *ret NULL. */
int status_listen(sd_event *loop, const char *app, status_fn fn, void *data, struct status_server **ret,
		  struct err *e);
void status_close(struct status_server *s);

/* Ask the agent of `app` and print its answer. */
int status_ask(const char *app, FILE *out, struct err *e);

/* Is there one that answers? */
bool status_is_running(const char *app);

#endif
