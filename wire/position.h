/*
 * position.h - how far a stream of rows has been read, and how to find the place again.
 *
 * A stream is whatever is read on from a place: a log file, the outbox, a journal, a container's log. Its
 * source owns it: nobody else reads, moves or ends it. Promises that a position is committed with the
 * rows before it, if the database still holds `from`.
 */
#ifndef WIRE_POSITION_H
#define WIRE_POSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whose a stream is; a source that reads on has its own name. */
#define SOURCE_TAIL "tail"
#define SOURCE_OUTBOX "outbox"

struct position {
	int64_t stream_id;
	int64_t from;                   /* what the database must hold for the batch to commit */
	int64_t to;                     /* what it holds afterwards; never smaller than `from` */
	bool begins;                    /* new to the database, which is told even if nothing was read */
	bool finished;                  /* the stream is over: a file is rotated away and read to its end */
	bool tells_lost;                /* the batch has a gap about what is missing before it */
	int64_t age_s;                  /* from the database: committed so long ago, by its clock */
	char source[16];                /* its name */
	char path[256];                 /* as last seen, cut when longer; for people */
	char cursor[256];               /* where to go on, in the words of the source; "": `to` says it */
	/* A file's: */
	char file_id[96];               /* device and file handle, or device, inode and time of birth */
	char head_hash[72];             /* of the first bytes, as the source wrote it */
	char tail_hash[40];             /* "length:hash" of the bytes before `to` */
};

/* Those of one source, in a list in which they stand together. */
const struct position *positions_of(const struct position *p, size_t n, const char *source, size_t *ret_n);

#endif
