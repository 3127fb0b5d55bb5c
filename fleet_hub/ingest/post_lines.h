/*
 * post_lines.h - the log lines of a posted payload, read as the agent reads a log.
 *
 * Owns the memory for reading one payload at a time. Promises rows as ingest_lines() in schema/65-payload.sql
 * takes them: [place in the list or null, logger, microseconds since 1970, level, message, context or null].
 * Leaves out what is wrong with the payload: what is no line here is named by the database.
 */
#ifndef FLEET_HUB_POST_LINES_H
#define FLEET_HUB_POST_LINES_H

#include <stdint.h>

#include "common/buf.h"
#include "common/text.h"

/*
 * Append to `out` the JSON array of the rows of `payload`, which is JSON (RFC 8259) that PostgreSQL can
 * store. `now_us`: wall clock; a payload without a time counts as of now. False: out of memory, or more than
 * out->max.
 */
bool post_lines(struct text payload, int64_t now_us, struct buf *out);

#endif
