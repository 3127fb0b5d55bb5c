/*
 * options.h - check the options of logcore_open() and replace zeros by defaults. Private to
 * the library.
 */
#ifndef LOGCORE_OPTIONS_H
#define LOGCORE_OPTIONS_H

#include "logcore.h"

/* Read options of `size` bytes, from a caller that was built with an older or a newer header;
 * NULL: all defaults. 0, or an errno value, and *ret_wrong says what is wrong. */
int logcore_options_read(struct logcore_options *o, const struct logcore_options *options, size_t size,
			 const char **ret_wrong);

#endif
