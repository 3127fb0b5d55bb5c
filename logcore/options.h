/*
 * options.h - what logcore_open() was given, with defaults in place of zeros. Private
 * to the library.
 */
#ifndef LOGCORE_OPTIONS_H
#define LOGCORE_OPTIONS_H

#include "logcore.h"

/* Options as this version knows them, from a caller that may know fewer or more: `size`
 * bytes; NULL are none. 0, or an errno value and what is wrong. */
int logcore_options_read(struct logcore_options *o, const struct logcore_options *options, size_t size,
			 const char **ret_wrong);

#endif
