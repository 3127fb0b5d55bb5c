/*
 * stream.h - one log file, known by what it is and not by its name.
 *
 * Owns the descriptor, the read position and the marks by which the file is recognised again. A stream
 * without a descriptor is parked: known by path and identity, opened again when it has its turn. Its fields
 * are private; its life is told in stream_life.h. Leaves out which files there are (tail_files.c) and what
 * their bytes mean (reader.c).
 */
#ifndef OBS_AGENT_STREAM_H
#define OBS_AGENT_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "common/err.h"
#include "wire/log/multiline.h"
#include "wire/position.h"
#include "fingerprint.h"
#include "identity.h"
#include "rate_limit.h"
#include "stream_life.h"

enum {
	STREAM_PATH_SIZE = 256,
	STREAM_TAIL_MAX = 64,           /* bytes before the position that are compared */
	STREAM_TICK_US = 20 * 1000,     /* time stamps of files lag behind the clock by so much */
	STREAM_SEARCH_S = 60, /* since its text was lost or its name changed: others may have come and gone */
};

struct log_file_config;
struct logcore;
struct stream;

/* Open `path` as a new stream at position 0, by the rules of log_open.h. -EPERM, -ENOENT ... come with a
 * sentence. `log`, NULL for none, is for faults of the agent. */
int stream_open(const char *path, struct logcore *log, struct stream **ret, struct err *e);
void stream_free(struct stream *s);

/* ---- what a stream holds: everyone may read it, stream.c and stream_life.c change it ---- */

/* What stat() said of it when it was last looked at. */
struct extent {
	int64_t size;
	int64_t top;                    /* the largest size that this text was seen to have */
	bool cut;                       /* it was seen to be shorter than that, whatever its size is now */
	int64_t held;                   /* its size when it last was known to be the text that is read */
	struct timespec written, changed; /* its times of modification and change */
	int64_t filled_us;              /* wall clock: its time of modification when it last grew */
	int64_t grew_us;                /* monotonic: when either time was last seen to be new */
};

/* How far it is read. */
struct progress {
	int64_t position; /* next byte to read; behind a newline, or the end of a file that is over */
	int64_t committed;              /* the same, in the database */
	int64_t scanned; /* no newline between position and here: an over-long or partial line */
	int64_t read_us;                /* wall clock: when position was reached */
	int64_t idle_since_us;          /* monotonic: the last time that bytes came or a path led here */
	struct head head;               /* fingerprint of what was read */
	char tail[STREAM_TAIL_MAX];     /* the bytes before position */
	size_t tail_len;
};

/* Zeros behind `scanned`: a part of the file that is not written yet, or a hole. */
struct zeros {
	int64_t to;                     /* only zeros up to here; not behind `scanned`: none known */
	struct timespec written;        /* the file's time of modification then */
};

/* Lines behind the position that wait for more that belongs to them. */
struct group {
	bool open;
	int64_t since_us;               /* monotonic */
};

/* What is missing before the position. */
struct loss {
	int64_t bytes;                  /* -1: perhaps some; 0: nothing is missing */
	const char *why;                /* a constant text */
	bool told;                      /* a gap says so, in a batch that is not committed */
};

/* When to look for other files of its log. */
struct search_state {
	struct timespec searched;       /* change time of its folder when it was searched */
	int64_t since_us;               /* wall clock: files that were rotated after this are not known yet */
	int64_t until_us;               /* monotonic: there may be such files */
};

const struct identity *stream_file(const struct stream *s);
const struct extent *stream_extent(const struct stream *s);
const struct progress *stream_progress(const struct stream *s);
const struct zeros *stream_zeros(const struct stream *s);
const struct group *stream_group(const struct stream *s);
const struct loss *stream_loss(const struct stream *s);
const struct search_state *stream_search(const struct stream *s);

/* What is asked for most. */
int64_t stream_id(const struct stream *s);
int stream_fd(const struct stream *s);          /* -1: parked */
const char *stream_path(const struct stream *s);        /* its real name when last seen */
const char *stream_log_path(const struct stream *s);    /* the same, when it was the log */
int64_t stream_size(const struct stream *s); /* when last looked at */
int64_t stream_offset(const struct stream *s); /* the next byte to read */
int64_t stream_scanned(const struct stream *s); /* no newline up to here */
bool stream_is_unlinked(const struct stream *s); /* its file has no name any more */
bool stream_is_copy(const struct stream *s);    /* made of a log that was then truncated: it does not grow */
bool stream_is_dirty(const struct stream *s);   /* there may be something to read */
bool stream_is_told(const struct stream *s);    /* a batch, or the database, knows of it */

/* ---- what others keep in a stream ---- */

/* Of tail_files.c: the list and the tables that a stream is in. */
struct stream_links {
	struct stream *next, *same_file, *same_watch;
	int watch;                      /* inotify's number for it, -1: none */
	bool blind;                     /* its file system, or its end, makes no events */
	bool told;                      /* an event came since the last look */
	bool unexplained;               /* a look found a change that no event told of, yet */
	bool untold;                    /* it has changed without an event */
};
struct stream_links *stream_links(struct stream *s);
struct stream *stream_next(const struct stream *s);

/* Of reader.c: what it learnt of the lines before the position. */
struct reading {
	const struct log_file_config *settings; /* NULL: to be found by its path */
	struct multiline form;          /* how its records begin */
	int64_t last_us;                /* time of the last line that had one; 0: none */
	int64_t last_at_us;             /* when that line was read; 0: in an earlier run, or none was */
	bool recalled;                  /* form and last_us are those of all text before the position */
	struct rate_limit rate;
};
struct reading *stream_reading(struct stream *s);

/* Learn form and time again, from the text before the position. */
void stream_forget_form(struct stream *s);

void stream_set_copy(struct stream *s);
void stream_set_dirty(struct stream *s, bool dirty);
void stream_set_told(struct stream *s);

/* ---- is it the same file, the same text? (stream_text.c) ---- */

/* Is this open file the one that `p` speaks of: the same file handle, the same head, and the same bytes
 * before the position? */
bool stream_is(const struct stream *s, const struct position *p);

/* Do both files hold the same text now, as far as the shorter one goes: its first and its last bytes? False
 * for an empty one. */
bool stream_same_text(const struct stream *s, const struct stream *other);

/* Wall clock, behind it by a tick: when the file was born (0: the file system does not say), and when it was
 * made what it is: born, or overwritten. */
int64_t stream_born_us(const struct stream *s);
int64_t stream_made_us(const struct stream *s);

/* What another file can tell of the one that `p` speaks of. */
enum likeness {
	UNLIKE,
	COPY_TOO_SHORT,                 /* it begins as that file did, and ends before the position */
	COPY,                           /* it goes on where reading stopped */
};
enum likeness stream_likeness(const struct stream *s, const struct position *p);

/* Is it the file that `p` speaks of, whose last bytes were lost when the machine went down: a position that
 * was committed before it started, a long head that holds, and nothing else? */
bool stream_is_torn(const struct stream *s, const struct position *p);

/* Is the file at `path`, which has its inode number, another one: made later? */
bool stream_replaced(const struct stream *s, const char *path);

/* Are the bytes before the position still those that were read? False: the file was truncated, and perhaps
 * filled again. Where there is more to read its head is compared too: lines of one length may all end alike.
 * Asked after a read, it tells whether that was of this text. */
bool stream_holds(const struct stream *s);

/* The same, as the file is now: also updates its size. */
bool stream_unchanged(struct stream *s);

/* Was all of its text read when it was last known to be there? If it was rotated, only since then counts. */
bool stream_was_whole_here(const struct stream *s);

/* ---- where it is ---- */

void stream_set_log_path(struct stream *s, const char *path);

/* It is not where its log is written. */
bool stream_is_away(const struct stream *s);

/* The path by which it was found, where that is another than it had. */
void stream_found_at(struct stream *s, const char *path);

/* Ask for its name again: a rotated file may have been renamed more than once. */
void stream_refresh_path(struct stream *s);

/* Its name changed, as inotify says. */
void stream_set_moved(struct stream *s);

/* The name that its open file has now; false: it has none any more. */
bool stream_name_now(const struct stream *s, char *out, size_t size);

/* Let the descriptor go; false: the path would not lead back to the file. */
bool stream_park(struct stream *s);

/* Open a parked stream again. -ESTALE: its path leads to another file now. */
int stream_reopen(struct stream *s, struct err *e);

/* ---- how much there is ---- */

/* What stat() says of it now. A change makes the stream dirty. */
void stream_seen(struct stream *s, const struct stat *st);

/* Its size without what is not written yet: zeros at the end of a file that was made in its full length. */
int64_t stream_text_size(const struct stream *s);

/* Is a part of it not written yet? Lines that come there change its size never, and its time of modification
 * not always (mmap): look whether one has begun. */
bool stream_is_prepared(const struct stream *s);
void stream_look_for_text(struct stream *s);

/* Has the last byte been there for so long? */
bool stream_silent(const struct stream *s, int64_t us);

/* All that it had was read, as far as was seen, and its name is what it was. */
bool stream_is_read_whole(const struct stream *s);

/* ---- how far it is read ---- */

/* What the database must know of the stream now; `from` and `to` are both its position, as
 * batch_set_position() wants them. */
void stream_position(const struct stream *s, struct position *ret);

/* Take up reading where the database stands. */
void stream_resume(struct stream *s, const struct position *p);

/* The file holds another text now: a new stream from position 0. */
void stream_restart(struct stream *s);

/* The database holds nothing of it: it begins again as the same text, with its number if `keep_id`. */
void stream_begin_again(struct stream *s, bool keep_id);

/* A torn file goes on as a new stream: behind what is left of the text that was read. */
void stream_restart_behind(struct stream *s);

/* Move the position to `to`, remembering the bytes before it (of which `end` is one past the last). */
void stream_advance(struct stream *s, int64_t to, const char *end, size_t available);

/* Move the position to `to` over bytes that were not kept. */
void stream_jump(struct stream *s, int64_t to);

/* There is no newline up to `to`. */
void stream_set_scanned(struct stream *s, int64_t to);

/* The database holds everything up to `to`. */
void stream_committed(struct stream *s, int64_t to);

/* Bytes that are there and not committed, and the age of the oldest of them, as far as is known. */
int64_t stream_lag_bytes(const struct stream *s);
int64_t stream_lag_us(const struct stream *s, int64_t now_us);

/* There are only zeros up to `to`. */
void stream_set_zeros(struct stream *s, int64_t to);

/* Where the file was written to since, and not where its text ends, nothing is known of zeros any more. */
void stream_forget_stale_zeros(struct stream *s, bool text_is_new);

/* Lines wait for more that belongs to them, others than before if `is_new`; or none do. */
void stream_open_group(struct stream *s, bool is_new);
void stream_close_group(struct stream *s);

void stream_set_loss(struct stream *s, int64_t bytes, const char *why);

/* A gap in the batch that fills says what is missing; that batch is committed. */
void stream_loss_told(struct stream *s);
void stream_loss_committed(struct stream *s);

/* Was text cut off behind the position? Then that is missing now. */
bool stream_is_cut_off(const struct stream *s);
void stream_cut_off(struct stream *s);

/* ---- the search for other files of its log ---- */

/* Files that were rotated after this may not be known either. */
void stream_search_since(struct stream *s, int64_t since_us);

void stream_set_searched(struct stream *s, struct timespec folder_changed);
void stream_search_again(struct stream *s);

/* For STREAM_SEARCH_S from now there may be such files. */
void stream_search_for_a_while(struct stream *s);

bool stream_same_time(struct timespec a, struct timespec b);

#endif
