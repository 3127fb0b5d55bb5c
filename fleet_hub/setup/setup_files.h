/*
 * setup_files.h - the files of this machine that setup reads and writes.
 *
 * Promises that a file has its old content or the new one, and nobody else may read the new one before. The
 * folders are root's, so no link of others is on the way. Leaves out what the files mean.
 */
#ifndef FLEET_HUB_SETUP_FILES_H
#define FLEET_HUB_SETUP_FILES_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/text.h"

struct setup_file {
	const char *path;
	mode_t mode;
	uid_t owner;
	gid_t group;
};

bool setup_exists(const char *path);

/* Append the file to `out`; one that does not fit is an error. */
int setup_read(const char *path, struct buf *out, struct err *e);

/* A new file, or a new content of it. */
int setup_write(const struct setup_file *f, struct text content, struct err *e);

/* The folder and those above it, which everybody may read; one that is there stays as it is. */
int setup_folder(const char *path, struct err *e);

#endif
