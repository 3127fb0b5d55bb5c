/*
 * doctor_unit.h - the agent's unit as the doctor needs it: whose rights it has, what its sandbox hides.
 *
 * Owns asking systemd (systemctl show), or the unit files where no systemd runs.
 */
#ifndef OBS_AGENT_DOCTOR_UNIT_H
#define OBS_AGENT_DOCTOR_UNIT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { UNIT_VALUE_MAX = 1024 };

struct doctor_unit {
	bool found;
	bool fresh;                     /* an agent of this unit never ran: doctor.c knows */
	char user[64];                  /* "": the same as ours */
	/* Values of its settings, as in the unit file; lists with a space before each item. */
	char protect_home[16], private_tmp[16], private_devices[16];
	char groups[UNIT_VALUE_MAX], binds[UNIT_VALUE_MAX], inaccessible[UNIT_VALUE_MAX], tmpfs[UNIT_VALUE_MAX],
		root[UNIT_VALUE_MAX], credentials[UNIT_VALUE_MAX];
	char exit_status[16];           /* of the last run; "": not known */
	char sub_state[32];             /* "running" ... */
};

/* Unit files are looked for below `root`; with "" systemd is asked too. */
void doctor_unit_read(struct doctor_unit *u, const char *root, const char *app);

/* The setting that hides `path` from the agent, as "ProtectHome=yes", and in `mend` what shows it; false: none does. */
bool doctor_unit_hides(const struct doctor_unit *u, const char *path, char setting[UNIT_VALUE_MAX], char mend[PATH_MAX]);

/* See files with the rights of the unit's user (only root can); false: nothing changed. */
bool doctor_unit_become(const struct doctor_unit *u);
void doctor_unit_return(void);

/* A line for each credential that its unit file names, about the file behind it. Returns the number of failures. */
int doctor_unit_credentials(const struct doctor_unit *u, const char *app, FILE *out);

#endif
