/*
 * notice_message.h - the messages of an absence, as the watcher would send them.
 *
 * Makes what take_notifications() gives for an alert of the rule "Agent silent" (schema/73-defaults.sql), so
 * that channels make the same of both. Leaves out when it is sent (notice.h).
 */
#ifndef OBS_AGENT_NOTICE_MESSAGE_H
#define OBS_AGENT_NOTICE_MESSAGE_H

#include "obs_agent/config/config.h"
#include "notice_record.h"

struct json_object;

/* The row for sending_new(). `over`: the database is back. why: the last error of the connection. */
struct json_object *notice_message(const struct config *c, const struct notice_record *r, bool over,
				   const char *why);

#endif
