/*
 * doctor.h - what keeps an agent from working, in words and each with its remedy.
 *
 * Run by a person, best as root. May block for seconds; changes nothing. Prints the lines of
 * doctor_say.h. What an agent that was never started cannot have yet is noted, and is no failure.
 */
#ifndef OBS_AGENT_DOCTOR_H
#define OBS_AGENT_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/clock.h"
#include "obs_agent/config/config.h"
#include "doctor_unit.h"

/* What the doctor asks others; each is a function so that tests can answer. */
struct doctor_others {
	int (*database)(const struct config *c, FILE *out);     /* prints lines; returns the number of failures */
	int (*agent)(const char *app, FILE *out, struct err *e); /* the running agent's status, as JSON */
};

/*
 * Look at the configuration, the environment, credentials, the clock, the kernel's limits, the log files, the
 * running agent and the database. Run by root, files are looked at with the rights of the unit's user.
 * Returns an exit status: 0 nothing is wrong (there may be notes and warnings), 1 something failed.
 */
int doctor_run(const char *config_path, const char *app, const struct doctor_others *others, FILE *out);

/* ---- inside the doctor ---- */

/* The log files, as far as this user sees them and as the unit's sandbox will let the agent see them, and
 * whether inotify has watches for them. Returns the number of failures. */
int doctor_logs(const struct config *c, const struct doctor_unit *u, FILE *out);

/* What the running agent says (others->agent), or how its last run ended. Returns the number of failures. */
int doctor_agent(const struct config *c, const struct doctor_unit *u, int (*ask)(const char *app, FILE *out, struct err *e),
		 FILE *out);

#endif
