/*
 * proc_details.h - what of a sample is no number: file systems, interfaces, the boot, as a JSON object.
 *
 * Owns when it is sent: when something has changed, else every 15 minutes. Tells once that the limits leave
 * out a file system, an interface or a disk. Leaves out how these are read (proc_mounts.h, proc_traffic.h).
 */
#ifndef OBS_AGENT_PROC_DETAILS_H
#define OBS_AGENT_PROC_DETAILS_H

#include "common/buf.h"
#include "proc_mounts.h"
#include "proc_traffic.h"

enum { BOOT_ID_MAX = 40, DETAILS_EVERY_S = 900, LEFT_OUT_SIZE = 256 };

struct details {
	bool changed;                   /* something of them has, since they were sent */
	char boot_id[BOOT_ID_MAX];      /* "": not known */
	int64_t sent_us;                /* 0: never */
	bool told_left_out;
	struct buf json;
};

struct details_parts {
	struct mounts *mounts;
	bool mounts_cut;                /* the kernel's list was longer than what is read of it */
	const struct traffic_table *interfaces, *disks;
};

void details_init(struct details *d);
void details_free(struct details *d);

/* Valid until the next call. Absent when nothing has changed: what was sent last still holds. */
struct text details_text(struct details *d, const struct details_parts *p, int64_t now_us);

/* A sentence about what the limits leave out. False: nothing, or the same as at the last call. */
bool details_left_out(struct details *d, const struct details_parts *p, char sentence[LEFT_OUT_SIZE]);

#endif
