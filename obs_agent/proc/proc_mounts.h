/*
 * proc_mounts.h - which file systems this machine has, and how full they are.
 *
 * Owns a table with one row per file system, not per mount, as df does. If it has
 * several mounts, the row shows "/", else a mount of the whole file system, else the
 * shortest path; so a disk appears also if only a folder of it is mounted (bind mount,
 * btrfs subvolume). Leaves out file systems in memory, images (squashfs, iso9660),
 * overlays other than "/", mounts that another one covers, and network and FUSE file
 * systems with everything mounted below them: asking them can block for ever. A disk
 * whose only path is closed to the agent (/home, by its unit) is listed without figures.
 */
#ifndef OBS_AGENT_PROC_MOUNTS_H
#define OBS_AGENT_PROC_MOUNTS_H

#include "common/buf.h"
#include "proc_parse.h"

enum {
	MOUNTS_MAX = 256,               /* the rest is only counted */
	MOUNTS_JSON_MAX = 128 << 10,    /* bytes that mounts_json() adds, about */
};

struct mount_usage {
	struct mount_line line;
	bool closed;                    /* the agent's sandbox closes its path: nothing can be measured */
	double percent;                 /* as df: used / (used + available to users), NaN: not known */
	double total_gb, used_gb;
	double inode_percent;           /* NaN: this file system has no fixed number of them */
	double shown_percent;           /* when mounts_json() printed it last */
};

struct mounts {
	struct mount_usage m[MOUNTS_MAX];
	size_t n;
	size_t left_out;                /* file systems beyond MOUNTS_MAX */
	size_t not_shown;               /* rows that the last mounts_json() left out */
	bool own_meminfo;               /* /proc/meminfo is a container's (lxcfs), not the machine's */
};

/* Fill the table from /proc/self/mountinfo. True: it has changed. */
bool mounts_read(struct mounts *t, struct text mountinfo);

/* Ask each file system how full it is. `root` is put before each path; "" for this machine. */
void mounts_measure(struct mounts *t, const char *root);

/* The row of "/", NULL when there is none. */
const struct mount_usage *mounts_root(const struct mounts *t);

/* Has one moved by half a point since mounts_json()? */
bool mounts_moved(const struct mounts *t);

/* Append a JSON array. */
bool mounts_json(struct mounts *t, struct buf *out);

#endif
