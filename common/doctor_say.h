/*
 * doctor_say.h - the lines that a doctor command prints.
 *
 * "ok": correct. "note": missing before the first start, which is normal. "warn": works, but could be
 * better. "FAIL": wrong; the doctor counts only these.
 */
#ifndef OBSERV_DOCTOR_SAY_H
#define OBSERV_DOCTOR_SAY_H

#include <stdbool.h>
#include <stdio.h>

/* Where the lines go, and how many of them warned. */
struct doctor_report {
	FILE *to;
	int warnings;
};

/* Print "FAIL what; remedy" or "ok   what"; returns the number of failures, 0 or 1. */
int doctor_line(struct doctor_report *out, bool ok, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Print "note what" or "warn what". Returns 0: no failure. */
int doctor_note(struct doctor_report *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int doctor_warn(struct doctor_report *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
