/*
 * log_context.h - the context of a row, put together from what a line says besides its columns.
 *
 * Promises a JSON object that jsonb takes, in which no value is lost: of equal keys the last one
 * keeps its name (json_distinct.h). Where the context is just an object of the line, it is not
 * copied. Leaves out where the parts come from.
 */
#ifndef WIRE_LOG_CONTEXT_H
#define WIRE_LOG_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "log_object.h"
#include "log_text.h"

struct log_context {
	struct buf json;                /* what was put together; empty: nothing yet */
	struct buf distinct;            /* the same with keys renamed */
	struct text whole;              /* an object of the line that is all there is so far */
	uint64_t keys;                  /* their bits: see json_key_bit() */
	bool underscored;               /* a key begins with one, as our marks do */
	bool clash;                     /* two keys may be equal */
};

void log_context_init(struct log_context *c, size_t max);
void log_context_free(struct log_context *c);
void log_context_begin(struct log_context *c);

/* A member of an object as it stands; all members of an object; a field of a text; a name and a text. */
bool log_context_member(struct log_context *c, const struct member *x);
bool log_context_object(struct log_context *c, const struct member *object);
bool log_context_field(struct log_context *c, const struct log_text_field *f);
bool log_context_text(struct log_context *c, struct text name, struct text value);

/* A name of ours and a text, behind all else: it keeps its name whatever the line calls its members. */
bool log_context_mark(struct log_context *c, struct text name, struct text value);

/* "\"_cut_bytes\":1048576": members as JSON text. */
bool log_context_json(struct log_context *c, const char *members);

/* The object, absent when nothing was added. It is valid until the next begin. */
struct text log_context_end(struct log_context *c);

#endif
