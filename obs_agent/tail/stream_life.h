/*
 * stream_life.h - the states of a stream, and what leads from one to the next.
 *
 * Owns the life of each stream: no other file sets it. Promises that a transition that the table in
 * stream_life.c does not have is refused and logged as an error; the stream then stays as it was, so that
 * nothing is lost. Leaves out facts that do not depend on the state: flags of struct stream.
 */
#ifndef OBS_AGENT_STREAM_LIFE_H
#define OBS_AGENT_STREAM_LIFE_H

#include <stdbool.h>

enum stream_life {
	ROTATED,  /* open, and no configured path leads to it: its writer may still have it open */
	FOLLOWED, /* a configured path leads to it; open or parked */
	DROPPED,  /* the new configuration leads to it no more: read to its last newline; open or parked */
	OVER,     /* open; nobody writes to it any more: read to its end */
	MISLAID,  /* parked, and its path does not lead back to it: to be searched for */
	FINISHED, /* its end is in a batch that is not committed yet */
	LET_GO,   /* the same, of one that was dropped */
	NEVER,    /* no state: what follows from an event that cannot come */
};

struct stream;

enum stream_life stream_life(const struct stream *s);

/* The last look in which a configured path led to it; 0: none yet. */
unsigned stream_look(const struct stream *s);

/* A configured path leads to it, in this look. One that is mislaid or ended stays so: it is settled first. A
 * copy that is over stays so too: it does not grow. */
void stream_path_leads(struct stream *s, unsigned look);

/* No configured path leads to it any more: it was rotated, or it is parked and mislaid. */
void stream_path_left(struct stream *s);

/* The configuration was changed and leads to it no more, though it is where it was. */
void stream_drop(struct stream *s);

/* Nobody writes to it any more. */
void stream_call_over(struct stream *s);

/* Something was read of it: one that is over is written to after all, unless it is a copy. */
void stream_was_written(struct stream *s);

/* Parked, it can't be opened again by its path. */
void stream_mislay(struct stream *s);

/* A batch has its end. */
void stream_end(struct stream *s);

/* A batch has its end, though it was not read: its text is read elsewhere. */
void stream_pass_over(struct stream *s);

/* It is read on, from where the database stands or as another text: whatever ended it did not last. */
void stream_live_on(struct stream *s);

/* Has a batch its end? */
bool stream_ended(const struct stream *s);

#endif
