/*
 * doctor.h - finds what keeps an agent from working, and prints each with its remedy.
 *
 * Run by a person, best as root. May block for seconds; changes nothing. Prints the lines of
 * doctor_say.h. If the agent was never started, what it can't have yet is a note and no failure.
 */
#ifndef OBS_AGENT_DOCTOR_H
#define OBS_AGENT_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/doctor_say.h"
#include "common/clock.h"
#include "obs_agent/config/config.h"
#include "doctor_unit.h"

/* Questions to the database and the agent; functions, so that tests can answer them. */
struct doctor_others {
	/* Prints lines; returns the number of failures. starting: the agent has just been started. */
	int (*database)(const struct config *c, bool starting, struct doctor_report *out);
	int (*agent)(const char *app, FILE *out, struct err *e); /* the running agent's status, as JSON */
};

/* Check the configuration, the environment, credentials, the clock, the kernel's limits, the log
 * files, the running agent and the database. As root, it checks files with the rights of the unit's
 * user. Returns an exit status: 0 nothing is wrong (there may be notes and warnings), 1 something
 * failed. */
int doctor_run(const char *config_path, const char *app, const struct doctor_others *others, FILE *to);

/* ---- inside the doctor ---- */

/* Check the log files with the rights of this user and the unit's sandbox, and whether inotify has
 * enough watches. Returns the number of failures. */
int doctor_logs(const struct config *c, const struct doctor_unit *u, struct doctor_report *out);

/* The running agent's report: JSON, which the caller frees; NULL: no agent answers. */
char *doctor_ask(const struct config *c, int (*ask)(const char *app, FILE *out, struct err *e));

/* Has the agent written nothing yet, and was it started less than three collection intervals ago, so that its
 * first row may still come? */
bool doctor_starting(const struct config *c, const char *report);

/* Check the report of the running agent, or, without one, how its last run ended. Returns the number of
 * failures. */
int doctor_agent(const struct config *c, const struct doctor_unit *u, const char *report,
		 struct doctor_report *out);

/* Check the folder in which the agent keeps undelivered samples. Returns the number of failures. */
int doctor_state_folder(const char *app, struct doctor_report *out);

/* systemd makes that folder when the unit starts for the first time, and keeps it. */
bool doctor_never_started(const char *app);

#endif
