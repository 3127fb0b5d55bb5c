/*
 * command.h - run another program to its end.
 *
 * Owns the child process, its input and its output. Promises that the child inherits only the standard
 * descriptors, and that input and output of any size can't block each other. Leaves out the meaning of the
 * output.
 */
#ifndef FLEET_HUB_COMMAND_H
#define FLEET_HUB_COMMAND_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/text.h"

struct command {
	const char *const *argv; /* argv[0] is looked for in PATH; NULL-terminated */
	const char *user;        /* it runs as this user, in folder /; NULL: as we do */
	struct text input;       /* its standard input; absent: none */
};

/*
 * Run `c` and wait for it. Appends its standard output to `out` and its standard error to `said`; NULL: the
 * child writes where this program does. Returns its exit status (128 + the number of a signal that ended it,
 * 127 if the program does not exist), or -errno if it could not be started or its output does not fit.
 */
int command_run(const struct command *c, struct buf *out, struct buf *said, struct err *e);

/* Run it and show nothing. 0, or -errno with the first line that it wrote when its exit status is another. */
int command_must(const char *const *argv, struct err *e);

/* Is there a program of this name in PATH? */
bool command_exists(const char *name);

#endif
