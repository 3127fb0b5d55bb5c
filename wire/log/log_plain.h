/*
 * log_plain.h - a text as a person sees it: without colours and control characters.
 *
 * Promises to leave newlines, tabs and every character that is not ASCII. Leaves out what the
 * text means.
 */
#ifndef WIRE_LOG_PLAIN_H
#define WIRE_LOG_PLAIN_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/text.h"

/* The text without colours and control characters; in `room` when it has any. */
struct text log_plain(struct text t, struct buf *room);

/* The same for the text in `b`. False: it has none. */
bool log_plain_in(struct buf *b);

#endif
