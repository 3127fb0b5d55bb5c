/*
 * lines.h - the reader's inner half: one record of a stream becomes a sample, and the position moves on.
 *
 * Owns how a file's lines are read (its settings, and what is learnt of it), the limit of lines a second, and
 * the gaps. Leaves out where a record is in the block, long lines and holes (reader.c).
 */
#ifndef OBS_AGENT_LINES_H
#define OBS_AGENT_LINES_H

#include "reader.h"

enum { BLOCK = LINE_BYTES_MAX + 1 };    /* bytes of r->block: a line of the longest length, and its newline */

/* Fill r->block from there; as pread(). */
ssize_t lines_read_block(struct reader *r, struct stream *s, int64_t offset);

/* Read the stream as its file's settings say, and as what was read of it before tells. Changes r->block. */
void lines_prepare(struct reader *r, struct stream *s);

/* The length of the record that begins the text; `line` is that of its first line. *ret_open: it is not known
 * where it ends. */
size_t lines_record_length(struct reader *r, struct stream *s, struct text t, size_t line, bool *ret_open);

/* A record is a sample, unless it is blank or there are too many. mark: a member of its context, or NULL.
 * False: the batch is full. */
bool lines_hand_over(struct reader *r, struct stream *s, struct text line, int64_t offset, int64_t now_us,
		     const char *mark);

/* Make the stream known to the batch that fills now, or move it there. `ends`: it is not read further. */
bool lines_advance(struct reader *r, struct stream *s, bool ends);

/* The same, with what is missing on the way there: in one transaction. */
bool lines_move_on(struct reader *r, struct stream *s, bool ends);

void lines_tell_loss(struct reader *r, const struct stream *s);

#endif
