/*
 * agent.h - what a source may ask of the agent. The struct is agent.c's own.
 */
#ifndef OBS_AGENT_AGENT_H
#define OBS_AGENT_AGENT_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "logcore/logcore.h"
#include "obs_agent/config/config.h"
#include "wire/sample.h"
#include "source.h"

sd_event *agent_loop(struct agent *a);
const struct config *agent_config(struct agent *a);
struct logcore *agent_log(struct agent *a);

/*
 * Hand over a sample. False: the batch is full; the source keeps what it has and
 * stops reading until resume() is called. Metrics, checks and gaps are never refused:
 * what does not fit is counted and becomes a gap row.
 */
bool agent_add(struct agent *a, const struct sample *s);

/* The source's status() has changed, and the database should hear of it now. At most one report is
 * sent every ten seconds. */
void agent_tell_state(struct agent *a);

/* Call batch_set_position() on the batch that agent_add() fills. */
bool agent_set_position(struct agent *a, const struct position *p);

#endif
