/*
 * doctor_say.h - the lines that the doctor prints.
 *
 * "ok": as it should be. "note": not there yet, and nothing is wrong with that. "warn": it works, and
 * could be better. "FAIL": something is wrong. Only the last one counts.
 */
#ifndef OBS_AGENT_DOCTOR_SAY_H
#define OBS_AGENT_DOCTOR_SAY_H

#include <stdbool.h>
#include <stdio.h>

/* Print "FAIL what; remedy" or "ok   what"; returns the number of failures, 0 or 1. */
int doctor_line(FILE *out, bool ok, const char *remedy, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Print "note what; what comes next", or what is as good as it may be. Returns 0: it is no failure. */
int doctor_note(FILE *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int doctor_warn(FILE *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
