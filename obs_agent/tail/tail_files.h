/*
 * tail_files.h - which log files there are.
 *
 * Owns the set of streams: the files that configured paths lead to now, those
 * they led to before, and those that came and went between two looks. Promises
 * that a file is found again by what it is, after any rename, that no file of a
 * followed log is missed, and that descriptors are bounded: files that are read to
 * their end are parked where there are more files than descriptors. Leaves out
 * reading them (src_tail.c).
 *
 * tail_files.c keeps the set and the descriptors, tail_look.c resolves paths,
 * tail_search.c and tail_folders.c find what was rotated away, tail_missing.c finds
 * what became of streams whose file is gone or truncated, tail_copy.c tells copies,
 * tail_cover.c says when looking may be left to inotify.
 */
#ifndef OBS_AGENT_TAIL_FILES_H
#define OBS_AGENT_TAIL_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "obs_agent/agent.h"
#include "common/path_pattern.h"
#include "remembered.h"
#include "obs_agent/tail/reader/reader.h"
#include "stream.h"
#include "watches.h"

enum {
	FILES_MAX = 16384,              /* files that one agent follows */
	FILES_OPEN_MAX = 1024,          /* of them, open at once; less where descriptors are fewer */
	FILES_HELD_MAX = 256,           /* rotated files that are kept open; at most a quarter of those */
	FILES_OVER_MAX = 4096,          /* finished ones that are remembered */
	TROUBLES_MAX = 256,             /* paths in trouble that are named */
	FILES_BUCKETS = 4096,
};

struct trouble {
	char path[256];
	char why[256];
	int code, before;               /* what it is, and what it was before */
	unsigned look;                  /* the last look that met it */
};

/* A folder that a configured path leads to. */
struct folder {
	char path[256];
	struct timespec searched;       /* its time of change when it was searched */
	unsigned look;                  /* the last look that met it */
};

struct tail_files {
	struct agent *agent;
	struct reader *reader;          /* for gap rows */
	struct stream *streams;
	struct stream *by_file[FILES_BUCKETS], *by_watch[FILES_BUCKETS];
	size_t n_streams, n_open, open_max;
	size_t n_held;                  /* rotated ones that are open, at the last look */
	struct watches *watches;        /* NULL: looked at once a second only */
	enum coverage coverage;         /* of all paths */
	int64_t cover_at_us;            /* monotonic: when to cover them anew */
	int64_t quiet_at_us;            /* monotonic: what happened last is settled then */
	bool judge_again;               /* a file waits: it can't be told yet what it is */
	bool all_known;                 /* the database has told its positions */
	bool reconfigured;              /* since the last look: files may have to be dropped */
	struct remembered missing;      /* streams whose file is not found yet */
	struct remembered finished;     /* finished streams: their files are not read again */
	struct folder *folders;
	size_t n_folders;
	int64_t started_us;             /* wall clock: of the first look */
	struct trouble troubles[TROUBLES_MAX];
	unsigned look;                  /* counts looks, from 1 */
	unsigned unnamed_look;          /* the last look with more troubles than are named */
};

/* ---- for src_tail.c ---- */

/* Say once that `path` can't be followed, and why: an errno value. */
void tail_files_trouble(struct tail_files *t, const char *path, int code);

/* Resolve every configured path anew, and look for what was rotated away. True: names changed meanwhile. */
bool tail_files_look(struct tail_files *t);

/* Take inotify's events: files that grew become dirty. True: names changed. */
bool tail_files_events(struct tail_files *t);

/* Mounts changed: a path may lead to another file system. */
void tail_files_remounted(struct tail_files *t);

/* Will an event tell of all that the next look could find? */
bool tail_files_is_calm(const struct tail_files *t);

/* The database's positions: every open stream takes its own or begins anew. False:
 * out of memory, nothing changed. */
bool tail_files_positions(struct tail_files *t, const struct position *p, size_t n);

/* Its turn comes: open it where it is parked. False: not now. */
bool tail_files_open(struct tail_files *t, struct stream *s);

/* May one more file be open? Where not, those that are read to their end are parked. */
bool tail_files_may_open(struct tail_files *t);

/* Its turn is over: park it where descriptors are scarce. */
void tail_files_park_if_scarce(struct tail_files *t, struct stream *s);

/* The file holds another text: look for a copy of the old one, begin the new one. */
void tail_files_truncated(struct tail_files *t, struct stream *s);

/* Did a copy of another text come into an empty file that was rotated? Then it is treated as such. */
bool tail_files_copied_over(struct tail_files *t, struct stream *s);

/* The end of the stream is committed: let the file go, and remember how far it was read. */
void tail_files_finished(struct tail_files *t, struct stream *s, const struct position *end);

/* The streams from `first` on have their turn before the others: it found the batch full. */
void tail_files_begin_with(struct tail_files *t, struct stream *first);

void tail_files_free(struct tail_files *t);

/* Is this trouble with a path still there? */
bool tail_files_lasts(const struct tail_files *t, const struct trouble *x);

/* ---- between the parts ---- */

void tail_files_say_once(struct tail_files *t, const char *path, int code, const char *sentence);
void tail_files_add(struct tail_files *t, struct stream *s);
void tail_files_remove(struct tail_files *t, struct stream *gone);
struct stream *tail_files_find(const struct tail_files *t, dev_t dev, ino_t ino);

/* Did a configured path lead to it in the last look? */
bool tail_files_led_to(const struct tail_files *t, const struct stream *s);

/* Open a file that no stream is for; NULL and e->code 0: there is one after all,
 * the name was given to another file just now. */
struct stream *tail_files_open_new(struct tail_files *t, const char *path, struct err *e);

/* If there was a stream for this file, take it up: the database's, or a finished one. Or go on
 * behind it, where the file was torn. */
bool tail_files_take_up(struct tail_files *t, struct stream *s);

void tail_files_remember(struct tail_files *t, const struct position *end);

/* A parked stream whose path leads elsewhere: what is known of it is looked for. */
void tail_files_lose(struct tail_files *t, struct stream *s);

/* Find what is missing, or give it up. */
void tail_missing_search(struct tail_files *t);

/* Find logs that were made and rotated away since the first look, where nothing else tells of them.
 * `paths`: the folders of all configured paths. */
void tail_folders_look(struct tail_files *t, const struct path_list *paths);

/* Cover what the configured paths lead to with watches, if that is due. */
void tail_cover_paths(struct tail_files *t, const struct path_list *files, const struct path_list *folders);

/* Names changed, or what is watched: nothing is settled yet. */
void tail_cover_again(struct tail_files *t);

/* A look sees the file; notes a change that no event told of. */
void tail_cover_seen(struct stream *s, const struct stat *st);

/* Append the files of a folder that are not open, the largest first; or those of a log's folder and the
 * folders in it. */
void tail_search_list(const struct tail_files *t, const char *folder, struct path_list *out);
void tail_search_list_below(const struct tail_files *t, const char *log_path, struct path_list *out);

/* Open a file unless it is open already; NULL: nothing for us. */
struct stream *tail_search_open(struct tail_files *t, const char *path);

/* Find texts of a log that came after the one that is missing. Their number. */
size_t tail_search_later(struct tail_files *t, const struct remembered_file *m);

/* Find texts that came and went while the agent was stopped, of logs whose known texts are all read. */
void tail_search_since_stop(struct tail_files *t);

/* Read the file at `path`, a rotated part of a log, if it was made since then and is no copy.
 * False: it can't be told yet. */
bool tail_search_admit(struct tail_files *t, const char *path, const char *log_path, int64_t since_us);

/* Find what came and went between two looks. */
void tail_search_successors(struct tail_files *t);

/* Is that still searched for, though no name changes? */
bool tail_search_goes_on(const struct stream *s);

/* What a file that nobody knows is to the texts that are known. */
enum copy {
	NO_COPY,
	COPY_OF_LOG,   /* of a log that may be truncated: then its rest is read here, so it has to wait */
	COPY_OF_READ,  /* of a text that is read elsewhere: never to be read */
	COPY_AND_MORE, /* a part of it is read elsewhere; to be read from there on */
};
enum copy tail_copy_judge(const struct tail_files *t, const struct stream *s);

/* Judge `s`, which nobody knows, and do as that says. */
enum admission {
	ADMITTED,                       /* to be read from its position */
	WAITS,                          /* judge it again later */
	REFUSED,                        /* never to be read */
};
enum admission tail_copy_admit(struct tail_files *t, struct stream *s);

/* May the file at `path` be a rotated part of that log: in its folder, or in one below? */
bool tail_copy_named_after(const char *path, const char *log_path);

/* May an open stream that is not read yet be a copy of that log, as far as its name says? */
bool tail_copy_may_be_of(const struct stream *s, const char *log_path);

enum likeness tail_copy_likeness(const struct stream *s, const struct remembered_file *f);

/* Nobody writes to it: a copy, or a file with the name of an older part of a log. */
bool tail_copy_is_rotated(const struct tail_files *t, const struct stream *s);

/* It is never to be read: end its stream. Where that is not sure a gap says so. False: the batch is full. */
bool tail_copy_pass_over(struct tail_files *t, struct stream *s, bool sure);

/* At level debug: the new name of a log, or that it has none. */
void tail_files_say_rotated(const struct tail_files *t, const char *from, const char *to);
void tail_files_debug_left(const struct tail_files *t, const struct stream *s);

/* At level debug: what became of a file. */
void tail_files_debug(const struct tail_files *t, const struct stream *s, const char *what);

#endif
