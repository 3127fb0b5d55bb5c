/*
 * doctor_unit.h - the agent's unit: its user, and what its sandbox hides.
 *
 * Owns asking systemd (systemctl show), or reading the unit files if no systemd runs.
 */
#ifndef OBS_AGENT_DOCTOR_UNIT_H
#define OBS_AGENT_DOCTOR_UNIT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/doctor_say.h"

enum { UNIT_VALUE_MAX = 1024 };

struct doctor_unit {
	bool found;
	bool fresh;                     /* the unit was never started; set by doctor.c */
	char user[64];                  /* "": the same as ours */
	/* Its settings, as in the unit file; lists have a space before each item. */
	char protect_home[16], private_tmp[16], private_devices[16];
	char groups[UNIT_VALUE_MAX], binds[UNIT_VALUE_MAX], inaccessible[UNIT_VALUE_MAX],
		tmpfs[UNIT_VALUE_MAX], root[UNIT_VALUE_MAX], credentials[UNIT_VALUE_MAX];
	char exit_status[16];           /* of the last run; "": unknown */
	char sub_state[32];             /* "running" ... */
};

/* Read the unit files below `root`; if that is "", ask systemd too. */
void doctor_unit_read(struct doctor_unit *u, const char *root, const char *app);

/* The setting that hides `path` from the agent ("ProtectHome=yes"), and the one that shows it again.
 * False: nothing hides it. */
bool doctor_unit_hides(const struct doctor_unit *u, const char *path, char setting[UNIT_VALUE_MAX],
		       char fix[PATH_MAX]);

/* Take on the rights of the unit's user (only root can); false: nothing changed. */
bool doctor_unit_become(const struct doctor_unit *u);
void doctor_unit_return(void);

/* Check the file of each credential that the unit names. Returns the number of failures. */
int doctor_unit_credentials(const struct doctor_unit *u, const char *app, struct doctor_report *out);

#endif
