/*
 * file_systems.h - which file systems tell of each change to their files.
 *
 * Owns what is known of the mounted ones until mounts change. Promises to say no where another machine, a
 * program or a layer above may change a file without an event of inotify.
 */
#ifndef OBS_AGENT_FILE_SYSTEMS_H
#define OBS_AGENT_FILE_SYSTEMS_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/path_pattern.h"

enum { FILE_SYSTEMS_MAX = 64 };         /* that are remembered; more are asked each time */

struct file_system {
	dev_t dev;
	bool tells;
};

/* All zero: nothing is known yet. */
struct file_systems {
	struct file_system devices[FILE_SYSTEMS_MAX];
	size_t n_devices;
	struct path_list layers;        /* folders that overlays write to */
};

/* Mounts changed: a number may be that of another file system now. */
void file_systems_read(struct file_systems *f);
void file_systems_free(struct file_systems *f);

/* Does the one of this device, to which the path leads, tell? */
bool file_systems_tell(struct file_systems *f, dev_t dev, const char *path);

/* Is a real path one that an overlay writes to? It makes no events there, though the file system tells. */
bool file_systems_is_layer(const struct file_systems *f, const char *real);

#endif
