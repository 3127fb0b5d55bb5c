/* run.h - runs the agent: starts everything in order, handles signals, stops in reverse order. The
 * calls for sources are in agent.h. */
#ifndef OBS_AGENT_RUN_H
#define OBS_AGENT_RUN_H

#include <stdbool.h>
#include <sysexits.h>

struct run_options {
	const char *app;
	const char *config_path;
	bool once;                      /* one round, wait for the commit, exit */
	bool dry_run;                   /* one round, print it as JSON, no database */
};

/* Exit codes; the unit file names the last two. */
enum {
	RUN_OK = 0,
	RUN_FAILED = 1,
	RUN_USAGE = 2,
	RUN_UNAVAILABLE = EX_UNAVAILABLE,       /* 69: --once: the database did not answer */
	RUN_FENCED = EX_PROTOCOL,               /* 76: another agent has this identity */
	RUN_CONFIG = EX_CONFIG,                 /* 78: mistakes in the configuration */
};

/* Run until told to stop; returns an exit code. */
int run(const struct run_options *o);

#endif
