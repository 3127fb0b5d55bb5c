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
	TROUBLES_MAX = 64,              /* paths whose last trouble is remembered */
};

struct trouble {
	char path[256];
	int code;
};

struct tail_files {
	struct agent *agent;
	struct reader *reader;          /* for gap rows */
	struct stream *streams;
	size_t n_streams;
	int inotify_fd;                 /* -1: looked at once a second only */
	struct position *missing;       /* streams of the database whose file is not found yet */
	size_t n_missing;
	struct trouble troubles[TROUBLES_MAX];
	size_t next_trouble;
};

/* Resolve every configured path anew, and look for what was rotated away. */
void tail_files_look(struct tail_files *t);

/* The database's positions: every open stream takes its own or begins anew. False:
 * out of memory, nothing changed. */
bool tail_files_positions(struct tail_files *t, const struct position *p, size_t n);

void tail_files_remove(struct tail_files *t, struct stream *gone);
void tail_files_free(struct tail_files *t);

#endif
