/*
 * stream_fields.h - a stream. Private: for stream*.c and tests.
 * Everyone else uses the functions of stream.h.
 */
#ifndef OBS_AGENT_STREAM_FIELDS_H
#define OBS_AGENT_STREAM_FIELDS_H

#include "stream.h"

struct place {
	char path[STREAM_PATH_SIZE];    /* its real name when last seen */
	char log_path[STREAM_PATH_SIZE]; /* its real name when it was the log; rotated names are made of it */
	bool unlinked;                  /* the file has no name any more */
	bool moved;                     /* its name changed, so it may go on elsewhere */
	bool unproven;                  /* since it was rotated nobody saw that its text is what was read */
};

/* A size that the file had, and when (monotonic): the oldest byte that is not committed came after since_us,
 * what stands behind the mark after mark_us. */
struct lag {
	int64_t mark, mark_us;
	int64_t since_us;               /* 0: everything is committed */
};

struct stream {
	struct stream_links links;      /* tail_files.c's */
	struct reading reading;         /* reader.c's */
	struct logcore *log;
	int64_t id;
	int fd;                         /* -1: parked */
	enum stream_life life;          /* set by stream_life.c only */
	unsigned look;                  /* the last one in which a configured path led here; 0: none yet */
	bool copy;                      /* made of a log that was then truncated: it does not grow */
	bool dirty;                     /* there may be something to read */
	bool told;                      /* a batch, or the database, knows of it */
	struct identity file;
	struct place place;
	struct extent seen;
	struct progress at;
	struct zeros zeros;
	struct group group;
	struct lag lag;
	struct loss loss;
	struct search_state search;
};

#endif
