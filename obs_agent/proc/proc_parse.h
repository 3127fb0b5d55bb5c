/*
 * proc_parse.h - the text files of /proc and /sys, taken apart.
 *
 * Pure functions of the text they are given. What the kernel writes always ends
 * in a newline, so a last line without one was cut and is not used: a number
 * that lost its tail must not become a smaller number.
 */
#ifndef OBS_AGENT_PROC_PARSE_H
#define OBS_AGENT_PROC_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/text.h"

/* Take the next complete line off the front of *rest, without its newline. */
bool proc_line(struct text *rest, struct text *ret_line);

/* In the line that begins with `line`: skip `column` words, then find `word`; the
 * number follows. {"some", 0, "avg60="} finds 1.5 in
 * "some avg10=0.00 avg60=1.50 avg300=0.71 total=11391656". */
bool proc_number(struct text file, const char *line, int column, const char *word, double *ret);

/* Clock ticks since boot, of all cores. */
struct cpu_times {
	uint64_t user;                  /* nice included; guests are in it already */
	uint64_t system;                /* interrupts included */
	uint64_t idle, iowait, steal;
};

/* First line of /proc/stat. */
bool proc_cpu(struct text file, struct cpu_times *ret);

/* Shares of the time between two readings, in percent; they and the idle share
 * add up to 100. False: a counter went back, or no time has passed. */
struct cpu_shares {
	double busy;                    /* user, system and steal */
	double user, system, iowait, steal;
};
bool proc_cpu_shares(const struct cpu_times *before, const struct cpu_times *now, struct cpu_shares *ret);

/* /proc/meminfo. What it does not say is NaN. */
struct memory {
	double total_kb;
	double used_kb;                 /* not available to new programs without swapping */
	double swap_total_kb, swap_used_kb;
};
void proc_memory(struct text file, struct memory *ret);

/* What ZFS's cache (ARC) can give back, in kB: its size minus its minimum size, from
 * /proc/spl/kstat/zfs/arcstats; 0 without ZFS. The kernel counts the ARC as used, but
 * it is as available as page cache. */
double proc_arc_kb(struct text file);

/* A network interface or a disk, and what went through it since boot. */
struct traffic_line {
	struct text name;
	uint64_t in, out;               /* bytes */
};

bool proc_net_line(struct text line, struct traffic_line *ret);     /* of /proc/net/dev */
bool proc_disk_line(struct text line, struct traffic_line *ret);    /* of /proc/diskstats */

enum { MOUNT_POINT_MAX = 256, MOUNT_FS_MAX = 32 };

struct mount_line {
	unsigned major, minor;          /* of the file system, equal for all its mounts */
	bool whole;                     /* shows the whole file system, not a folder of it */
	bool read_only;                 /* the file system itself, not this mount of it */
	/* systemd mounted it to close the path (ProtectHome=yes and the like) */
	bool closes;
	char point[MOUNT_POINT_MAX];
	char fs[MOUNT_FS_MAX];
};

/* A line of /proc/self/mountinfo. False also for a path or type that is too long. */
bool proc_mount_line(struct text line, struct mount_line *ret);

/* How many numbers a list as "0-3,8" has; 0 when it is none. */
int proc_list_count(struct text file);

/* Change per second, NaN when the counter went back or no time has passed. */
double proc_rate(uint64_t before, uint64_t now, int64_t us);

#endif
