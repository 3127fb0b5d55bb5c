/*
 * log_wrapper.h - lines that hold a line: of Docker's json-file, and of CRI (containerd, CRI-O).
 *
 * Both cut a long line into parts, and a record of several lines is as many wrapped lines. Leaves
 * out what the line inside means.
 */
#ifndef WIRE_LOG_WRAPPER_H
#define WIRE_LOG_WRAPPER_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/text.h"

struct log_wrapper {
	struct text inside;             /* the line, without its newline; in `room` or in the wrapped line */
	struct text stream;             /* "stdout", "stderr" */
	struct text time;               /* as it stands */
	struct text attrs;              /* Docker's labels, a JSON object; absent: none */
	bool unstorable;                /* PostgreSQL would refuse a value in attrs */
	bool partial;                   /* the next wrapped line goes on with this one */
};

/* Open `line`, one physical line. False: it is no wrapper. */
bool log_wrapper_open(struct text line, struct buf *room, struct log_wrapper *ret);

/* May the line be a wrapper, by its first bytes? */
bool log_wrapper_likely(struct text line);

#endif
