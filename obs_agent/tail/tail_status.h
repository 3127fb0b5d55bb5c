/*
 * tail_status.h - how far the files are read, in figures.
 */
#ifndef OBS_AGENT_TAIL_STATUS_H
#define OBS_AGENT_TAIL_STATUS_H

#include "common/buf.h"
#include "tail_files.h"

enum {
	STATUS_STREAMS_MAX = 50,        /* those that are furthest behind are named */
	STATUS_STREAMS_BYTES = 12 * 1024,
	STATUS_TROUBLES_BYTES = 2 * 1024,
};

/* How many files can't be followed. */
size_t tail_status_troubles(const struct tail_files *t);

/* Append members of an object: totals, and the streams with the largest lag. */
bool tail_status_files(const struct tail_files *t, struct buf *out);

#endif
