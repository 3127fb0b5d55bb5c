/*
 * proc_unit.h - what the application's systemd unit uses, and how often it was
 * restarted.
 *
 * CPU, memory and processes come from the unit's control group (version 2, or
 * the older three hierarchies). The number of restarts only systemd knows: it is
 * asked over the system bus without waiting, so unit_sample() gives the answer to
 * the question before it. Where there is no bus or no unit the values stay NaN.
 */
#ifndef OBS_AGENT_PROC_UNIT_H
#define OBS_AGENT_PROC_UNIT_H

#include <systemd/sd-event.h>

#include "wire/sample.h"

struct unit;

/* `name` as in "my-app.service" (".service" is added where there is no type);
 * `sys_root` is "/sys". NULL when memory is short or the name is none. */
struct unit *unit_new(sd_event *loop, const char *name, const char *sys_root);

/* Set the values METRIC_APP_*; `now_us` is monotonic. */
void unit_sample(struct unit *u, int64_t now_us, double value[METRIC_COUNT]);

/* The unit's control group below its hierarchy, as "system.slice/my-app.service",
 * or NULL while there is none. */
const char *unit_cgroup(const struct unit *u);

void unit_free(struct unit *u);

#endif
