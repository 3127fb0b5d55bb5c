/* watch_doctor.h - fleet_watch doctor: what keeps alerts from evaluation and delivery. May block for 10 s. */
#ifndef FLEET_WATCH_WATCH_DOCTOR_H
#define FLEET_WATCH_WATCH_DOCTOR_H

#include <stdio.h>

#include "watch_conf.h"

/* Print a line for each thing looked at. Returns the number of failures. */
int watch_doctor(const struct watch_conf *conf, FILE *to);

#endif
