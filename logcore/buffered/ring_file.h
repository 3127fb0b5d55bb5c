/*
 * ring_file.h - the file beside a log that has the rings of one process. Private to
 * the library.
 *
 * Owns its name (".app.log.<16 hex digits>.held"), its layout and its locks, which the
 * kernel drops when the process dies: a POSIX lock on the first byte, which a forked
 * child does not inherit, and an open-file lock on the second, which stays when the
 * process opens and closes the file elsewhere. Promises that a full disk is an error here
 * and no SIGBUS later: space is allocated before it is mapped.
 */
#ifndef LOGCORE_RING_FILE_H
#define LOGCORE_RING_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring.h"

enum { RING_FILE_RINGS_MAX = 128 };

struct ring_file {
	int fd;                         /* -1: none */
	uint64_t device, inode;
	size_t page, ring_size;
	unsigned rings;
	char *path;                     /* empty: the file is memory without a name */
};

/* For a log at `log_path`, with rings of at least ring_size bytes. Without a path, or if no
 * file can be created there, the rings are in memory and lost with the process. Other
 * processes do not see the file until it is published. 0 or -errno. */
int logcore_ring_file_open(struct ring_file *h, const char *log_path, size_t ring_size);
void logcore_ring_file_publish(struct ring_file *h);

/* Another file for a forked child, without an allocation. */
int logcore_ring_file_again(struct ring_file *h);

/* In a forked child: close the parent's file, so that its lock ends with the parent. */
void logcore_ring_file_forget(struct ring_file *h);

/* Add a ring. 0 or -errno. */
int logcore_ring_file_add(struct ring_file *h, struct ring *ret);

/* Remove the file, unless `keep`: it has lines that could not be written. */
void logcore_ring_file_close(struct ring_file *h, bool keep);

/* ---- files of dead processes ------------------------------------------------------------ */

/* Whether a name in the log's folder is a ring file of this log, one that was never published, or neither. */
enum ring_file_kind { NO_RING_FILE, RING_FILE, UNFINISHED_RING_FILE };
enum ring_file_kind logcore_ring_file_kind(const char *name, const char *log_name);

/* Take over the file of a process that ended. 0; -EAGAIN while that process lives; another
 * -errno when it is no such file. */
int logcore_ring_file_take(struct ring_file *h, int folder, const char *name);
int logcore_ring_file_map(const struct ring_file *h, unsigned number, struct ring *ret);

#endif
