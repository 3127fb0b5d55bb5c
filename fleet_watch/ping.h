/* ping.h - tells a dead-man's switch that evaluations succeed: a GET each, one at a time. */
#ifndef FLEET_WATCH_PING_H
#define FLEET_WATCH_PING_H

#include "common/loop/curl_glue.h"
#include "logcore/logcore.h"
#include "watch_conf.h"

struct ping;

/* NULL: out of memory. */
struct ping *ping_new(struct curl_glue *glue, const struct watch_conf *conf, struct logcore *log);
void ping_free(struct ping *p);

/* Nothing happens without a ping_url, or while the last one is under way. */
void ping_send(struct ping *p);

#endif
