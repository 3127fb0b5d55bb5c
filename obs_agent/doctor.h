/*
 * doctor.h - what keeps an agent from working, in words and each with its remedy.
 *
 * Run by a person, best as the agent's user. May block for seconds; changes
 * nothing. Each line begins with "ok", "warn" (it works, and could be better) or "FAIL".
 */
#ifndef OBS_AGENT_DOCTOR_H
#define OBS_AGENT_DOCTOR_H

#include <stdbool.h>
#include <stdio.h>

#include "config.h"

/*
 * Look at the configuration, the environment, the log files, the kernel's limits,
 * the clock, and by db_check() (which prints lines of its own and returns the number
 * of failures) at the database. Returns an exit status: 0 all well, 1 something failed.
 */
int doctor_run(const char *config_path, const char *app, int (*db_check)(const struct config *, FILE *), FILE *out);

/* ---- inside the doctor ---- */

/* Print one line, "FAIL what; remedy" or "ok   what"; returns the number of failures, 0 or 1. */
int doctor_line(FILE *out, bool ok, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Print one line, "warn what; remedy": it counts as no failure. */
void doctor_warn(FILE *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The log files, as far as this user sees them and as the unit's sandbox will let
 * the agent see them; unit files are looked for below `root` (""). Returns the number of failures. */
int doctor_logs(const struct config *c, const char *root, FILE *out);

#endif
