/*
 * stream.h - one log file, known by what it is and not by its name.
 *
 * Owns the descriptor, the read position and the marks by which the file is
 * recognised again. Leaves out which files there are (src_tail.c).
 */
#ifndef OBS_AGENT_STREAM_H
#define OBS_AGENT_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "../common/err.h"
#include "batch.h"

enum {
	STREAM_HEAD_MAX = 1024,         /* bytes at the start of the file that are hashed */
	STREAM_TAIL_MAX = 64,           /* bytes before the position that are compared */
};

struct stream {
	struct stream *next;
	int fd;
	dev_t dev;
	ino_t ino;
	int watch;                      /* inotify's number for it, -1: none */
	char path[256];                 /* its real name when it was opened */
	char log_path[256];             /* its real name when it was the log; rotated names are made of it */
	struct timespec searched;       /* change time of its folder when it was searched for successors */
	char file_id[96];
	char head_hash[40];
	int64_t id;
	int64_t position;               /* next byte to read; behind a newline, or the end of a file that is over */
	int64_t committed;              /* the same, in the database */
	int64_t scanned;                /* no newline between position and here: an over-long or partial line */
	int64_t size;                   /* when last looked at */
	int64_t idle_since_us;          /* monotonic: the last time that bytes came or a path led here */
	char tail[STREAM_TAIL_MAX];     /* the bytes before position */
	size_t tail_len;
	bool current;                   /* a configured path leads here now */
	bool finished;                  /* read to its end for good; waits for the commit */
};

/* Open `path` as a new stream at position 0. Refuses what is not a regular file.
 * -ELOOP, -ENOENT ... come with a sentence. */
int stream_open(const char *path, struct stream **ret, struct err *e);
void stream_free(struct stream *s);

/* Is this open file the one that `p` speaks of: the same file handle, the same
 * head, and the same bytes before the position? */
bool stream_is(const struct stream *s, const struct position *p);

/* Was the file made after `other`? */
bool stream_is_younger(const struct stream *s, const struct stream *other);

/* Does the file begin with what was read of `other`: is it a copy? */
bool stream_is_copy(const struct stream *s, const struct stream *other);

/* Take up reading where the database stands. Updates position, id and tail. */
void stream_resume(struct stream *s, const struct position *p);

/* Are the bytes before the position still those that were read? False: the file
 * was truncated, and perhaps filled again. Also updates s->size. Where there is
 * more to read its head is compared too: lines of one length may all end alike. */
bool stream_unchanged(struct stream *s);

/* The file holds another text now: a new stream from position 0. */
void stream_restart(struct stream *s);

/* Move the position to `to`, remembering the bytes before it (of which `end` is
 * one past the last). */
void stream_advance(struct stream *s, int64_t to, const char *end, size_t available);

/* Move the position to `to` over bytes that were not kept. */
void stream_jump(struct stream *s, int64_t to);

/* What the database must know of the stream now; `from` and `to` are both its
 * position, as batch_advance() wants them. */
void stream_position(struct stream *s, struct position *ret);

#endif
