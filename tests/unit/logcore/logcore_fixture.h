/*
 * logcore_fixture.h - the logger that most tests of logcore write to, made anew for each of
 * them; and numbers and texts by chance that are the same on every machine.
 */
#ifndef OBSERV_TEST_LOGCORE_FIXTURE_H
#define OBSERV_TEST_LOGCORE_FIXTURE_H

#include "logcore_lines.h"

static struct capture cap;

/* As the tests have it that do not ask for more. */
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
