/*
 * proc_traffic.h - bytes per second of network interfaces and disks.
 *
 * Owns the last reading of each. Promises that a counter that goes back (reset,
 * wrap, replaced device) gives NaN, never a spike, and that no byte counts twice:
 * interfaces with hardware count, members of a bond, whole disks; bridges, VLANs,
 * tunnels, partitions, RAID, LVM and loop devices do not. Where no interface has
 * hardware (a container), those count that are not built on others; never the
 * loopback. The kernel tells what an interface is (/sys/class/net), not its name.
 */
#ifndef OBS_AGENT_PROC_TRAFFIC_H
#define OBS_AGENT_PROC_TRAFFIC_H

#include "common/buf.h"
#include "proc_parse.h"

enum { TRAFFIC_MAX = 1024, TRAFFIC_NAME_MAX = 32 };       /* the rest is only counted */

struct traffic {
	char name[TRAFFIC_NAME_MAX];
	uint64_t in, out;               /* bytes since boot */
	double in_rate, out_rate;       /* bytes/s, NaN: counter went back, or first reading */
	bool fresh;                     /* this is the first reading */
	bool counted;                   /* part of the sum */
	bool seen;
};

struct traffic_kind;                    /* which file format, what counts */
extern const struct traffic_kind traffic_net, traffic_disk;

struct traffic_table {
	const struct traffic_kind *kind;
	struct traffic t[TRAFFIC_MAX];
	size_t n;
	size_t left_out;                /* devices beyond TRAFFIC_MAX, at the last reading */
	int64_t at_us;                  /* of the last reading, 0: none */
};

/* Take a reading of /proc/net/dev or /proc/diskstats; `now_us` is monotonic,
 * `sys_root` is "/sys". True: the set of devices that count has changed. */
bool traffic_read(struct traffic_table *t, struct text file, int64_t now_us, const char *sys_root);

/* Sum over the devices that count; NaN: there is none, or one is not known. */
void traffic_sum(const struct traffic_table *t, double *ret_in, double *ret_out);

/* How many count. */
size_t traffic_counted(const struct traffic_table *t);

/* Append a JSON array of the interfaces that count. */
bool traffic_json(const struct traffic_table *t, struct buf *out);

#endif
