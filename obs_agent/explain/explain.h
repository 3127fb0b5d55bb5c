/*
 * explain.h - how the agent would read a file: `obs_agent explain FILE`.
 *
 * Reads the beginning and the end of the file as the tail would, and shows what became of the
 * first, the last and the oddest records. Writes nothing, needs no database, and a configuration only
 * where its settings are to be used.
 */
#ifndef OBS_AGENT_EXPLAIN_H
#define OBS_AGENT_EXPLAIN_H

#include <stdio.h>

#include "common/err.h"
#include "obs_agent/config/config.h"

/* Explain one file to `out`, as `c` would have it read; NULL: by the defaults. -errno with a sentence
 * when it can't be read. */
int explain(const char *path, const struct config *c, FILE *out, struct err *e);

/* Has any of its records a time of its own, or none at all yet? Where times are not looked for, the
 * answer is yes. -errno as above. */
int explain_has_times(const char *path, const struct log_file_config *settings, struct err *e);

/* The tables of what is understood, as Markdown. */
void explain_formats(FILE *out);

#endif
