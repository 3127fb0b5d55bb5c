/*
 * log_fields.h - lines of text that are all fields: access logs, key=value pairs, PostgreSQL's CSV.
 *
 * Each function looks at a whole line and either takes it apart or leaves it: false, and *ret
 * is not to be used. The spans in *ret point into the line. See log_text.h for what they mean.
 */
#ifndef WIRE_LOG_FIELDS_H
#define WIRE_LOG_FIELDS_H

#include "log_text.h"

/* NCSA's common and combined logs, with a virtual host in front or not, as Apache, nginx, lighttpd,
 * Caddy and morgan write them. A status of 500 and above is an ERROR. `read`: what log_text_read() found in
 * the line, so that its time is not read again; NULL: not known. */
bool log_fields_access(struct log_clock *c, struct text line, const struct log_text *read,
		       struct log_text *ret);

/* logfmt: `line` from `from` on is pairs, one of them under a name that loggers use. What *ret
 * holds already, of a prefix, stays. */
bool log_fields_pairs(struct log_clock *c, struct text line, size_t from, struct log_text *ret);

/* A record of Linux' audit whose text is no pairs: its time, its type, its serial number. */
bool log_fields_audit(struct log_clock *c, struct text line, struct log_text *ret);

/* PostgreSQL's csvlog. `read` as above. */
bool log_fields_csv(struct log_clock *c, struct text line, const struct log_text *read, struct log_text *ret);

#endif
