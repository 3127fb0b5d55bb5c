/*
 * status.h - what `obs_agent status` and `obs_agent reload` ask of the running agent.
 *
 * Protocol: connect to the question's socket, read the answer to its end. The sockets are in
 * $RUNTIME_DIRECTORY, else in /run/obs-agent/APP: status.sock, which everybody may ask, and
 * reload.sock, which only root and the agent's user may.
 */
#ifndef OBS_AGENT_STATUS_H
#define OBS_AGENT_STATUS_H

#include <stdbool.h>
#include <stdio.h>
#include <systemd/sd-event.h>

#include "common/buf.h"
#include "common/err.h"

enum status_question {
	ASK_STATUS,                     /* answer: one JSON object */
	ASK_RELOAD,                     /* answer: STATUS_RELOADED, or why not, a sentence a line */
};

#define STATUS_RELOADED "reloaded\n"

struct status_server;

/* Append the answer; false: there is none. */
typedef bool (*status_fn)(void *data, struct buf *out);

/* Listen for a question; `fn` makes each answer. A folder that is not there is no failure: 0
 * and *ret NULL. */
int status_listen(sd_event *loop, const char *app, enum status_question q, status_fn fn, void *data,
		  struct status_server **ret, struct err *e);
void status_close(struct status_server *s);

/* Ask the agent of `app` and print its answer. */
int status_ask(const char *app, FILE *out, struct err *e);

/* Let it read its configuration anew. -EINVAL: it refused and goes on as it was; `out` has the reasons. */
int status_reload(const char *app, FILE *out, struct err *e);

/* Is there one that answers? */
bool status_is_running(const char *app);

#endif
