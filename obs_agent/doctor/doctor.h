/*
 * doctor.h - what keeps an agent from working, in words and each with its remedy.
 *
 * Run by a person, best as the agent's user. May block for seconds; changes
 * nothing. Each line begins with "ok", "warn" (it works, and could be better) or "FAIL".
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
 * Returns an exit status: 0 all well (there may be warnings), 1 something failed.
 */
int doctor_run(const char *config_path, const char *app, const struct doctor_others *others, FILE *out);

/* ---- inside the doctor ---- */

/* Print one line, "FAIL what; remedy" or "ok   what"; returns the number of failures, 0 or 1. */
int doctor_line(FILE *out, bool ok, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Print one line, "warn what; remedy": it counts as no failure. */
void doctor_warn(FILE *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The log files, as far as this user sees them and as the unit's sandbox will let the agent see them, and
 * whether inotify has watches for them. Returns the number of failures. */
int doctor_logs(const struct config *c, const struct doctor_unit *u, FILE *out);

/* What the running agent says (others->agent), or how its last run ended. Returns the number of failures. */
int doctor_agent(const struct config *c, const struct doctor_unit *u, int (*ask)(const char *app, FILE *out, struct err *e),
		 FILE *out);

#endif
