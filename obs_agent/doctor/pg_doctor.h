/*
 * pg_doctor.h - the doctor's questions to the database. May block for some ten seconds.
 */
#ifndef OBS_AGENT_PG_DOCTOR_H
#define OBS_AGENT_PG_DOCTOR_H

#include <stdio.h>

#include "obs_agent/config/config.h"

/* Connect as the agent would, and print a line for each thing looked at. Returns the number of failures. */
int pg_doctor(const struct config *c, FILE *out);

#endif
