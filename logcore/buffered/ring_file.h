/*
 * ring_file.h - the file beside a log that has the rings of one process. Private to
 * the library.
 *
 * Owns its name (".app.log.<16 hex digits>.held"), its layout and its locks, which the
 * kernel takes away at any death: a POSIX lock on the first byte, which a forked child
 * does not get, and one of the open file on the second, which stays when the process
 * opens and closes the file elsewhere. Space is taken before it is
 * mapped, so that a full disk is an error here and no SIGBUS later.
 */
#ifndef LOGCORE_HELD_H
#define LOGCORE_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring.h"

enum { HELD_RINGS_MAX = 128 };

struct held {
	int fd;                         /* -1: none */
	uint64_t device, inode;
	size_t page, ring_size;
	unsigned rings;
	char *path;                     /* of the file; empty: it is memory without a name */
};

/* For a log at `log_path`, with rings of at least ring_size bytes. When there is no
 * path, or no file can be made there, it is in memory, and gone with the process.
 * Nobody sees it until it is published. 0 or -errno. */
int logcore_held_open(struct held *h, const char *log_path, size_t ring_size);
void logcore_held_publish(struct held *h);

/* The same again for a forked child, without an allocation. */
int logcore_held_again(struct held *h);

/* In a forked child: let go of the parent's, so that its lock ends with the parent. */
void logcore_held_forget(struct held *h);

/* One more ring. 0 or -errno. */
int logcore_held_add(struct held *h, struct ring *ret);

/* `keep`: there are lines in it that could not be written. */
void logcore_held_close(struct held *h, bool keep);

/* ---- another process's ------------------------------------------------------------ */

/* Whether the name is one of the log's held files, or of one that was not finished. */
enum held_name { HELD_OTHER, HELD_FILE, HELD_UNFINISHED };
enum held_name logcore_held_is_name(const char *name, const char *log_name);

/* Take over the file of a process that ended. 0; -EAGAIN when it has not, or
 * another errno when it is none. */
int logcore_held_take(struct held *h, int folder, const char *name);
int logcore_held_map(const struct held *h, unsigned number, struct ring *ret);

#endif
