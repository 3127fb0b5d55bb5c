/*
 * tail_files.h - which log files there are.
 *
 * Owns the set of streams: the files that configured paths lead to now, those
 * they led to before, and those that came and went between two looks. Promises
 * that a file is found again by what it is, after any rename, and that no file
 * of a followed log is missed. Leaves out reading them (src_tail.c).
 */
#ifndef OBS_AGENT_TAIL_FILES_H
#define OBS_AGENT_TAIL_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "agent.h"
#include "reader.h"
#include "stream.h"

enum {
	FILES_MAX = 4096,               /* files that one agent follows */
	FILES_OVER_MAX = 4096,          /* finished ones that are remembered */
	TROUBLES_MAX = 256,             /* paths in trouble that are named */
};

struct trouble {
	char path[256];
	int code;
	unsigned look;                  /* the last look that met it */
};

struct tail_files {
	struct agent *agent;
	struct reader *reader;          /* for gap rows */
	struct stream *streams;
	size_t n_streams, streams_max;  /* as many as descriptors allow */
	int inotify_fd;                 /* -1: looked at once a second only */
	struct position *missing;       /* streams of the database whose file is not found yet */
	size_t n_missing;
	struct position *over;          /* finished streams: their files are not read again; a ring */
	size_t n_over, next_over;
	struct trouble troubles[TROUBLES_MAX];
	unsigned look;                  /* counts looks, from 1 */
	unsigned unnamed_look;          /* the last look with more troubles than are named */
};

/* Say once that `path` can't be followed, and why: an errno value. */
void tail_files_trouble(struct tail_files *t, const char *path, int code);

/* Resolve every configured path anew, and look for what was rotated away. */
void tail_files_look(struct tail_files *t);

/* The database's positions: every open stream takes its own or begins anew. False:
 * out of memory, nothing changed. */
bool tail_files_positions(struct tail_files *t, const struct position *p, size_t n);

/* The end of the stream is committed: let the file go, and remember how far it was read. */
void tail_files_finished(struct tail_files *t, struct stream *s, const struct position *end);

void tail_files_free(struct tail_files *t);

#endif
