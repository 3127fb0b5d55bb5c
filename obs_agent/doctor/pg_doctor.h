/* pg_doctor.h - the doctor's checks of the database. May block for 10 s and more. */
#ifndef OBS_AGENT_PG_DOCTOR_H
#define OBS_AGENT_PG_DOCTOR_H

#include <stdio.h>

#include "common/doctor_say.h"
#include "obs_agent/config/config.h"

/* Connect as the agent does, and print a line for each check. `starting`: the agent was started only now, so
 * it is no failure that its last row is old. Returns the number of failures. */
int pg_doctor(const struct config *c, bool starting, struct doctor_report *out);

#endif
