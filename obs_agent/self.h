/*
 * self.h - what this process uses, as /proc has it.
 */
#ifndef OBS_AGENT_SELF_H
#define OBS_AGENT_SELF_H

#include <stdint.h>

/* Resident memory in KiB; 0: not known. */
int64_t self_rss_kb(void);

/* Number of threads; 1 if not known. */
int64_t self_threads(void);

#endif
