/*
 * stream.h - one log file, known by what it is and not by its name.
 *
 * Owns the descriptor, the read position and the marks by which the file is
 * recognised again. A stream without a descriptor is parked: known by path and
 * identity, opened again when it has its turn. Leaves out which files there are
 * (tail_files.c) and what their bytes mean (reader.c).
 */
#ifndef OBS_AGENT_STREAM_H
#define OBS_AGENT_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "common/err.h"
#include "wire/batch.h"
#include "wire/log/multiline.h"
#include "fingerprint.h"
#include "rate_limit.h"
#include "stream_life.h"

enum {
	STREAM_PATH_SIZE = 256,
	STREAM_TAIL_MAX = 64,       /* bytes before the position that are compared */
	STREAM_TICK_US = 20 * 1000, /* time stamps of files lag behind the clock by so much */
	STREAM_SEARCH_S = 60, /* since its text was lost or its name changed: others may have come and gone */
};

struct log_file_config;
struct logcore;

struct stream {
	struct stream *next;
	struct stream *same_file, *same_watch;  /* chains of the tables in tail_files.c */
	int fd;                         /* -1: parked */
	int watch;                      /* inotify's number for it, -1: none */
	dev_t dev;
	ino_t ino;
	struct statx_timestamp born;
	char path[STREAM_PATH_SIZE];    /* its real name when last seen */
	char log_path[STREAM_PATH_SIZE]; /* its real name when it was the log; rotated names are made of it */
	struct timespec searched;       /* change time of its folder when it was searched for successors */
	char file_id[96];
	uint64_t key;                   /* stream_key() of it */
	struct head head;               /* of what was read */
	int64_t id;
	int64_t position; /* next byte to read; behind a newline, or the end of a file that is over */
	int64_t committed;              /* the same, in the database */
	int64_t scanned; /* no newline between position and here: an over-long or partial line */
	int64_t zeros_to;               /* only zeros from `scanned` to here; not behind it: none known */
	int64_t size;                   /* when last looked at */
	int64_t top;                    /* the largest size that this text was seen to have */
	int64_t lost;                   /* a copy: bytes that it lacks; -1: perhaps some; 0: none */
	int64_t filled_us; /* wall clock: its time of modification when it was last seen to grow */
	struct timespec zeros_written;  /* its time of modification then */
	struct timespec written, changed; /* the file's times of modification and change, as last seen */
	int64_t grew_us;                /* monotonic: when either was last seen to be new */
	int64_t read_us;                /* wall clock: when position was reached */
	int64_t since_us; /* wall clock: of this log, files that were rotated after this are not known yet */
	int64_t search_until_us;        /* monotonic: there may be such files */
	int64_t idle_since_us;          /* monotonic: the last time that bytes came or a path led here */
	int64_t lag_mark, lag_mark_us;  /* a size that the file had, and when; behind it ... */
	int64_t lag_since_us; /* ... the oldest byte that is not committed came after this; 0: none */
	const char *lost_why;
	bool lost_told;                 /* a gap says `lost`, in a batch that is not committed */
	int64_t group_since_us;         /* monotonic: since when open_group holds */
	char tail[STREAM_TAIL_MAX];     /* the bytes before position */
	size_t tail_len;
	struct rate_limit rate;
	bool moved;                     /* its name changed since it was parked, so it may go on elsewhere */
	struct multiline form;          /* how its records begin */
	const struct log_file_config *settings; /* NULL: to be found by its path */
	int64_t last_us;                /* time of the last line that had one; 0: none */
	bool recalled;                  /* form and last_us are those of all text before the position */
	struct logcore *log;
	enum stream_life life;          /* set by stream_life.c only */
	unsigned look;                  /* the last one in which a configured path led here; 0: none yet */
	bool dirty;                     /* there may be something to read */
	bool open_group; /* behind position stand lines that wait for more that belong to them */
	bool copy;                      /* made of a log that was then truncated: it does not grow */
	bool unlinked;                  /* the file has no name any more */
	bool told;                      /* a batch, or the database, knows of it */
};

/* Open `path` as a new stream at position 0, by the rules of log_open.h. -EPERM, -ENOENT ... come
 * with a sentence. `log`, NULL for none, is used for faults of the agent. */
int stream_open(const char *path, struct logcore *log, struct stream **ret, struct err *e);
void stream_free(struct stream *s);

/* Is this open file the one that `p` speaks of: the same file handle, the same
 * head, and the same bytes before the position? */
bool stream_is(const struct stream *s, const struct position *p);

/* Wall clock, behind it by a tick: when the file was born (0: the file system does not say), and
 * when it was made what it is: born, or overwritten. */
int64_t stream_born_us(const struct stream *s);
int64_t stream_made_us(const struct stream *s);

/* Do both files hold the same text now, as far as the shorter one goes: its first
 * and its last bytes? False for an empty one. */
bool stream_same_text(const struct stream *s, const struct stream *other);

/* What another file can tell of the one that `p` speaks of. */
enum likeness {
	UNLIKE,
	COPY_TOO_SHORT,                 /* it begins as that file did, and ends before the position */
	COPY,                           /* it goes on where reading stopped */
};
enum likeness stream_likeness(const struct stream *s, const struct position *p);

/* Hash of what in a file_id survives a reboot. */
uint64_t stream_key(const char *file_id);

/* Is it the file that `p` speaks of, whose last bytes were lost when the machine went
 * down: a position that was committed before it started, a long head that holds, and
 * nothing else? */
bool stream_is_torn(const struct stream *s, const struct position *p);

/* Is the file at `path`, which has its inode number, another one: made later? */
bool stream_replaced(const struct stream *s, const char *path);

/* What stat() says of it now. A change makes the stream dirty. */
void stream_seen(struct stream *s, const struct stat *st);

/* The name that its open file has now; false: it has none any more. */
bool stream_name_now(const struct stream *s, char *out, size_t size);

/* Let the descriptor go; false: the path would not lead back to the file. */
bool stream_park(struct stream *s);

/* Open a parked stream again. -ESTALE: its path leads to another file now. */
int stream_reopen(struct stream *s, struct err *e);

/* It is not where its log is written. */
bool stream_is_away(const struct stream *s);

/* The path by which it was found, where that is another than it had. */
void stream_found_at(struct stream *s, const char *path);

bool stream_same_time(struct timespec a, struct timespec b);

/* Its size without what is not written yet: zeros at the end of a file that was made in its full length. */
int64_t stream_text_size(const struct stream *s);

/* Is a part of it not written yet? Lines that come there change its size never, and its time of
 * modification not always (mmap): look whether one has begun. */
bool stream_is_prepared(const struct stream *s);
void stream_look_for_text(struct stream *s);

/* Has the last byte been there for so long? */
bool stream_silent(const struct stream *s, int64_t us);

/* Take up reading where the database stands. Updates position, id and tail. */
void stream_resume(struct stream *s, const struct position *p);

/* Are the bytes before the position still those that were read? False: the file
 * was truncated, and perhaps filled again. Where there is more to read its head is
 * compared too: lines of one length may all end alike. Asked after a read, it tells
 * whether that was of this text. */
bool stream_holds(const struct stream *s);

/* The same, as the file is now: also updates s->size. */
bool stream_unchanged(struct stream *s);

/* What was learnt of its lines is to be learnt again, from the text before the position. */
void stream_forget_form(struct stream *s);

/* The file holds another text now: a new stream from position 0. */
void stream_restart(struct stream *s);

/* The database holds nothing of it: it begins again as the same text, with its number if `keep_id`. */
void stream_begin_again(struct stream *s, bool keep_id);

/* A torn file goes on as a new stream: behind what is left of the text that was read. */
void stream_restart_behind(struct stream *s);

/* Move the position to `to`, remembering the bytes before it (of which `end` is
 * one past the last). */
void stream_advance(struct stream *s, int64_t to, const char *end, size_t available);

/* Move the position to `to` over bytes that were not kept. */
void stream_jump(struct stream *s, int64_t to);

/* The database holds everything up to `to`. */
void stream_committed(struct stream *s, int64_t to);

/* What the database must know of the stream now; `from` and `to` are both its
 * position, as batch_set_position() wants them. */
void stream_position(const struct stream *s, struct position *ret);

#endif
