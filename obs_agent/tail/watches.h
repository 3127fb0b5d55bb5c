/*
 * watches.h - wakes the agent when a log file grows or a configured path leads elsewhere.
 *
 * Owns inotify and all that it watches: files, the folders that names are looked up in, the folders above
 * them, and the symbolic links on the way. Promises to tell whether it covers everything: whether each
 * change to a file, or to what a path leads to, wakes the agent. Where it does not, somebody has to look each
 * second: another file system than a local one, a folder that the agent may enter and not read, the user's
 * limit of watches, a chain of too many links. Leaves out which paths there are (tail_look.c).
 */
#ifndef OBS_AGENT_WATCHES_H
#define OBS_AGENT_WATCHES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct watches;

/* NULL: the kernel gives no inotify, or memory is short. All functions take NULL, and then cover nothing. */
struct watches *watches_new(void);
void watches_free(struct watches *w);

/* Descriptors for the loop. Names or files changed: wait for EPOLLIN. The table of mounts changed: wait for
 * EPOLLPRI, then call watches_mounts_changed(). -1: there is none. */
int watches_fd(const struct watches *w);
int watches_mounts_fd(const struct watches *w);
void watches_mounts_changed(struct watches *w);

/* Watch an open file. Returns inotify's number for it, -1: it can't be watched. */
int watches_add_file(struct watches *w, int fd);
void watches_remove_file(struct watches *w, int number);

/* Does the file system of this device tell of each change? */
bool watches_trust(struct watches *w, dev_t dev, int fd);

/* Cover all paths anew: begin, then each of them, then end. A folder is covered with the names in it and with
 * the way to it; a file with the way to it, if its last part is a symbolic link. Neither needs to exist. */
void watches_begin(struct watches *w);
void watches_cover_folder(struct watches *w, const char *path);
void watches_cover_file(struct watches *w, const char *path);
enum coverage {
	COVER_PARTIAL,                  /* some changes will not wake the agent */
	COVER_GREW,                     /* something was not watched before, and may have changed: again */
	COVER_COMPLETE,                 /* nothing can have changed unseen, and nothing will */
};
enum coverage watches_end(struct watches *w);

enum watch_news {
	WATCH_GREW,                     /* a file was written to or cut */
	WATCH_MOVED,                    /* its name changed */
	WATCH_TOUCHED,                  /* its attributes or the number of its names changed */
	WATCH_GONE,                     /* the kernel watches it no more */
	WATCH_OVERFLOW,                 /* events were lost: `watch` is -1 */
};
typedef void (*watch_fn)(void *data, int watch, enum watch_news news);

/* Take all events. True: a name changed, so that a path may lead elsewhere. */
bool watches_read(struct watches *w, watch_fn fn, void *data);

#endif
