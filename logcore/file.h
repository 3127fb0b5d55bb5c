/*
 * file.h - the log file itself: opened, followed, rotated, written to. Private to
 * the library.
 *
 * Owns the descriptor. Promises:
 *
 * - The descriptor keeps its number while the file behind it changes, so each write(2) of
 *   any thread goes whole to the old file or to the new one.
 * - A write causes no signal (SIGPIPE, SIGXFSZ).
 * - If any process left a torn line at the end, the next line begins behind a newline.
 * - Nothing here waits for another process.
 */
#ifndef LOGCORE_FILE_H
#define LOGCORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file;

/* An offset in a file. */
struct file_place {
	uint64_t device, inode, at;
};

struct file_options {
	const char *path;               /* NULL: fd */
	int fd;
	bool no_follow;
	uint64_t rotate_bytes;          /* 0: not by size */
	unsigned rotate_seconds;        /* 0: not by time */
	unsigned rotate_keep;
};

/* NULL and *ret_error (an errno value) on failure. */
struct file *logcore_file_open(const struct file_options *o, int *ret_error);
void logcore_file_close(struct file *f);

/* Open the path again. 0, or -errno and keeps the old file. */
int logcore_file_reopen(struct file *f);

/* Write all bytes. Returns how many were written; if not all, *ret_error is the errno value.
 * `now_us` is the wall clock: once a second this checks whether the file was renamed, and
 * at each call whether to rotate it. */
size_t logcore_file_write(struct file *f, const char *bytes, size_t n, int64_t now_us, int *ret_error);

/* Write the rest of a torn line, if the file still ends at `end`. False: not all was written. */
bool logcore_file_complete(struct file *f, const struct file_place *end, const char *rest, size_t n);

/* The end of the file now: a later write cannot begin before it. False: no regular file. */
bool logcore_file_place(const struct file *f, struct file_place *ret);

/* NULL if the caller gave a descriptor, or the path is no regular file. */
const char *logcore_file_path(const struct file *f);

#endif
