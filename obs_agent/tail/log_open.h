/*
 * log_open.h - opens a log file, and nothing that somebody else put in its place.
 *
 * Who may write to a folder of logs may not make the agent, which reads the logs of others too, read these
 * for him. Promises that
 *  - what is opened is a regular file on a file system that holds files (not /proc, /sys and the like);
 *    nothing else is ever opened, so that no device and no FIFO is touched;
 *  - a symbolic link on the way is followed only if it belongs to root or to the agent's user; or if what it
 *    leads to belongs to its owner too; or if it belongs to the owner of its folder and leads to something
 *    below this folder (as `current` does). Where owners can't be told apart (PrivateUsers=yes) they are not
 *    taken to be the same;
 *  - a file with several names (hard links) is opened only in a folder into which nobody but its owner and
 *    root can put one.
 * What is checked is what is opened, however fast names are changed meanwhile. Leaves out access rights:
 * they are the kernel's.
 */
#ifndef OBS_AGENT_LOG_OPEN_H
#define OBS_AGENT_LOG_OPEN_H

#include <sys/stat.h>

#include "common/err.h"

/* Open `path`, absolute, for reading: a descriptor that does not block, and *ret_st. -EPERM: refused by the
 * rules above; `e` holds "path: why; how to fix it". */
int log_open_file(const char *path, struct stat *ret_st, struct err *e);

#endif
