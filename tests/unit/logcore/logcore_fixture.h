/*
 * logcore_fixture.h - a new logger for each test, which most tests of logcore use; and random
 * numbers and texts that are the same on every machine.
 */
#ifndef OBSERV_TEST_LOGCORE_FIXTURE_H
#define OBSERV_TEST_LOGCORE_FIXTURE_H

#include "logcore_lines.h"

static struct capture cap;

/* The options of most tests. */
static inline int setup_app(void **state)
{
	(void)state;
	capture_open(&cap, (struct logcore_options){ .name = "app", .ignore_environment = true });
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	capture_close(&cap);
	return 0;
}

#endif
