/*
 * rate_limit.h - how many lines a second a file may hand over.
 *
 * Counts by the lines' own time stamps, so that what was written calmly passes
 * however late it is read. Pure: no clock, no memory.
 */
#ifndef OBS_AGENT_RATE_LIMIT_H
#define OBS_AGENT_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "wire/sample.h"

enum {
	RATE_LIMIT_SEVERE_FACTOR = 10,  /* WARNING and above have so much more room */
	RATE_LIMIT_SECONDS = 8,        /* seconds that are counted at once: lines may come out of order */
};

/* One file's budget. */
struct rate_limit {
	struct rate_limit_second {
		int64_t second;         /* since 1970 */
		int64_t calm, severe;   /* lines of it: below WARNING, and the others */
	} seconds[RATE_LIMIT_SECONDS];  /* each at its number, modulo their count */
	bool behind; /* the file's end was not reached since reading began or had to wait */
};

/* What was held back, by level. */
struct rate_limit_held {
	int64_t lines[LEVEL_CRITICAL + 1];
	int64_t bytes;
};

/* May a line of this time and level pass, at `limit` lines a second? */
bool rate_limit_passes(struct rate_limit *f, int64_t limit, int64_t timestamp_us, enum log_level level);

int64_t rate_limit_held_lines(const struct rate_limit_held *c);

/* Append "1200 INFO, 33 DEBUG", the worst level first. */
bool rate_limit_held_detail(const struct rate_limit_held *c, struct buf *out);

#endif
