/*
 * status.h - the questions of `obs_agent status` and `obs_agent reload` to the running agent.
 *
 * Protocol: connect to the socket of the question and read the answer to its end. The sockets are
 * in $RUNTIME_DIRECTORY, or else in /run/obs-agent/APP: status.sock, open to everybody, and
 * reload.sock, open to root and the agent's user.
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
	ASK_RELOAD,                     /* answer: STATUS_RELOADED, or the reasons why not, one a line */
};

#define STATUS_RELOADED "reloaded\n"

struct status_server;

/* Who answers which question. */
struct status_answerer {
	enum status_question question;
	/* Append the answer; return false to send none. */
	bool (*answer)(void *data, struct buf *out);
	void *data;
};

/* Listen for a question. If the folder does not exist, returns 0 and *ret is NULL. */
int status_listen(sd_event *loop, const char *app, const struct status_answerer *a,
		  struct status_server **ret, struct err *e);
void status_close(struct status_server *s);

/* Ask the agent of `app` and print its answer. */
int status_ask(const char *app, FILE *out, struct err *e);

/* Make it reload its configuration. -EINVAL: it refused and keeps the old one; `out` has the
 * reasons. */
int status_reload(const char *app, FILE *out, struct err *e);

/* Does an agent of `app` answer? */
bool status_is_running(const char *app);

#endif
