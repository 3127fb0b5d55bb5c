/*
 * explain.h - how the agent would read a file: `obs_agent explain FILE`.
 *
 * Reads the beginning and the end of the file as the tail would, and shows what became of the
 * first, the last and the oddest records. Writes nothing, needs neither configuration nor database.
 */
#ifndef OBS_AGENT_EXPLAIN_H
#define OBS_AGENT_EXPLAIN_H

#include <stdio.h>

#include "common/err.h"

/* Explain one file to `out`. -errno with a sentence when it can't be read. */
int explain(const char *path, FILE *out, struct err *e);

/* The tables of what is understood, as Markdown. */
void explain_formats(FILE *out);

#endif
