/*
 * identity.h - what a file is, whatever it is called.
 *
 * Promises that the identity of a file is not used again for the next one where the file system gives file
 * handles or times of birth, and that it is the same after a restart of the machine.
 */
#ifndef OBS_AGENT_IDENTITY_H
#define OBS_AGENT_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct identity {
	dev_t dev;
	ino_t ino;
	struct statx_timestamp born;    /* 0: the file system does not say */
	char file_id[96];               /* "major:minor/type:handle", or "major:minor/inode@birth" */
	uint64_t key;                   /* identity_key() of it */
};

void identity_of(int fd, const struct stat *st, struct identity *ret);

/* Was the file that is at `path` now born at another time? */
bool identity_replaced(const struct identity *i, const char *path);

/* Do two file_ids name the same file, whatever number its device has now? */
bool identity_same_file(const char *file_id, const char *other);

/* Hash of what in a file_id survives a restart of the machine; never 0. */
uint64_t identity_key(const char *file_id);

#endif
