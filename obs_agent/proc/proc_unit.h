/*
 * proc_unit.h - CPU, memory, processes and restarts of the application's systemd unit.
 *
 * The first three come from the unit's control group (version 2, or the older three
 * hierarchies). Only systemd knows the restarts: unit_sample() asks over the system
 * bus without waiting, and gives the answer to its previous question. Without a bus
 * or a unit the values are NaN.
 */
#ifndef OBS_AGENT_PROC_UNIT_H
#define OBS_AGENT_PROC_UNIT_H

#include <systemd/sd-event.h>

#include "wire/sample.h"

struct unit;

/* `name` as in "my-app.service" (".service" is added where there is no type);
 * `sys_root` is "/sys". NULL: out of memory, or not a name of a unit. */
struct unit *unit_new(sd_event *loop, const char *name, const char *sys_root);

/* Set the values METRIC_APP_*; `now_us` is monotonic. */
void unit_sample(struct unit *u, int64_t now_us, double value[METRIC_COUNT]);

/* The unit's control group below its hierarchy, as "system.slice/my-app.service",
 * or NULL while there is none. */
const char *unit_cgroup(const struct unit *u);

void unit_free(struct unit *u);

#endif
