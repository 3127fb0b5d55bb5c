/*
 * log_columns.h - access logs whose columns stand in a fixed order, by a table of formats.
 *
 * Promises that a line is taken only when all that can be checked is right: a status, a method,
 * a request, a time. Leaves out NCSA's common logs (log_fields.h), whose head is not so fixed.
 */
#ifndef WIRE_LOG_COLUMNS_H
#define WIRE_LOG_COLUMNS_H

#include "log_text.h"

/* `t` is what stands behind a time, or a whole line. True: its columns are added to *ret; else *ret stays. */
bool log_columns(struct log_clock *c, struct text t, bool behind_time, struct log_text *ret);

/* "GET /orders HTTP/1.1": method, path, protocol. */
bool log_columns_request(struct log_text *ret, struct text request);

/* 100 to 599: the field and, unless the line names one, the level. */
bool log_columns_status(struct log_text *ret, struct text status);

#endif
