/*
 * notice.h - the agent tells people that its database is away, and when it is back, if the configuration says
 * whom.
 *
 * Owns when a message is due, tries it again until the peer takes it, and remembers over restarts what was
 * told. Promises one message an absence, which has the same id when it is sent again; that "resolved" goes to
 * whom "firing" may have reached; and that nothing here blocks. Leaves out the texts (notice_message.h) and
 * how channels send them (common/channels/).
 */
#ifndef OBS_AGENT_NOTICE_H
#define OBS_AGENT_NOTICE_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/buf.h"
#include "common/err.h"
#include "logcore/logcore.h"
#include "obs_agent/config/config.h"

struct notice;

struct notice_options {
	sd_event *loop;
	const struct config *config;    /* must outlive it; call notice_reload() when it has changed */
	struct logcore *log;
	const char *state_folder;       /* NULL: what was told is forgotten with the process */
};

/* The database counts as away until notice_database() says otherwise. */
int notice_new(const struct notice_options *o, struct notice **ret, struct err *e);
void notice_free(struct notice *n);     /* accepts NULL */

/* Whether the database is away, and the last error of its connection. The same may be said many times. */
void notice_database(struct notice *n, bool away, const char *why);
void notice_reload(struct notice *n);

/* Append a JSON object; false: no room. */
bool notice_print(const struct notice *n, struct buf *out);

/* Can a message be made of the configuration? 0 too if nobody is to be told. */
int notice_check(const struct config *c, struct err *e);

#endif
