/*
 * watch.h - the daemon: leads or stands by, evaluates, flushes groups, and has messages delivered.
 *
 * Owns the loop, signals and what systemd is told. Promises that nothing blocks the loop, that only one
 * watcher of a database evaluates, and that a failed evaluation stops no delivery.
 */
#ifndef FLEET_WATCH_WATCH_H
#define FLEET_WATCH_WATCH_H

#include <stdbool.h>
#include <sysexits.h>

#include "watch_conf.h"

enum {
	WATCH_OK = 0,
	WATCH_FAILED = 1, /* --once: an evaluation or delivery failed; test: not accepted */
	WATCH_USAGE = 2,
	WATCH_UNAVAILABLE = EX_UNAVAILABLE, /* 69: the database did not answer, or another watcher leads */
	WATCH_CONFIG = EX_CONFIG,           /* 78: mistakes in the configuration */
};

struct watch_options {
	bool once;        /* evaluate, deliver what is due, and exit */
	const char *test; /* send a test to this channel, say what came of it, and exit; or NULL */
};

/* Run until told to stop; returns an exit code. */
int watch_run(const struct watch_options *o, const struct watch_conf *conf);

#endif
