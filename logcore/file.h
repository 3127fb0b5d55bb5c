/*
 * file.h - the log file itself: opened, followed, rotated, written to. Private to
 * the library.
 *
 * Owns the descriptor. Promises that it stays the same number while files change
 * behind it, so that a write(2) of any thread goes to the one file or to the
 * other, whole; that no signal (SIGPIPE, SIGXFSZ) comes of a write; that what is written
 * behind a line that was torn, by whomever, begins on a line of its own; and that nothing
 * here waits for another process.
 */
#ifndef LOGCORE_FILE_H
#define LOGCORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file;

/* Where in which file. */
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

/* Open the path again. 0 or -errno, with the old file still in use. */
int logcore_file_reopen(struct file *f);

/* Write all; returns how much of it could be, *ret_error says why not all. `now_us`
 * is the time by the wall clock: once a second it is seen whether the file was
 * renamed, and at each call whether it is to be rotated. */
size_t logcore_file_write(struct file *f, const char *bytes, size_t n, int64_t now_us, int *ret_error);

/* Write the rest of a line that was torn, if the file still ends at `end`. False: not all of it. */
bool logcore_file_complete(struct file *f, const struct file_place *end, const char *rest, size_t n);

/* Where a write that begins now cannot begin before. False: not in a regular file. */
bool logcore_file_place(const struct file *f, struct file_place *ret);

/* NULL when a descriptor was given, or the path is no regular file. */
const char *logcore_file_path(const struct file *f);

#endif
