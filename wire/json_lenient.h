/*
 * json_lenient.h - JSON as some programs write it, made JSON where the meaning is plain.
 *
 * Repairs NaN and Infinity, "\x41", a single backslash, a control character in a string, and a
 * comma behind the last member. Leaves out what could mean several things: single quotes, keys
 * without quotes, comments.
 */
#ifndef WIRE_JSON_LENIENT_H
#define WIRE_JSON_LENIENT_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/text.h"

/* Append `t`, repaired. False: nothing had to be repaired, or there was no room; *out is not to be
 * used then. Bytes that "\xC3" stands for are put as they are, so the result may not be UTF-8. */
bool json_lenient(struct text t, struct buf *out);

#endif
