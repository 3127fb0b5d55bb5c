/*
 * agent_life.h - the other side of agent.h: how run.c starts, reloads and stops an agent.
 *
 * A struct agent owns the sources and the delivery. It promises that what delivery
 * tells reaches every source. It leaves out signals and systemd: they are run.c's.
 */
#ifndef OBS_AGENT_AGENT_LIFE_H
#define OBS_AGENT_AGENT_LIFE_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "logcore/logcore.h"
#include "obs_agent/config/config.h"
#include "deliver.h"

struct agent;

/* What an agent is made of, and the callbacks of its owner. All of it must outlive the agent. */
struct agent_life {
	sd_event *loop;
	const struct config *config;    /* call agent_reload() when it has changed */
	struct logcore *log;
	bool once, dry_run;
	void *data;
	void (*committed)(void *data);
	void (*fenced)(void *data);     /* another agent took over: this one must end */
	void (*changed)(void *data);    /* agent_deliver_state() has news */
};

int agent_start(const struct agent_life *life, struct agent **ret, struct err *e);
void agent_stop(struct agent *a);

/* The configuration has changed: each source takes it over or is restarted. */
void agent_reload(struct agent *a);

/* Send everything that is held. stopping: sources are not resumed any more. */
void agent_finish(struct agent *a, bool stopping);

/* Is everything committed that sources handed over? */
bool agent_idle(const struct agent *a);

/* Has every source made one round? */
bool agent_round_is_over(struct agent *a);

/* Append the members of the JSON object that tells the state, for the database and for `obs_agent status`. */
bool agent_state_members(struct agent *a, struct buf *out);
struct deliver_state agent_deliver_state(const struct agent *a);

#endif
