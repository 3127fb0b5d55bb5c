#include "watches.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "file_systems.h"

enum {
	LINKS_MAX = 16,                 /* symbolic links on one path */
};

/* A folder or a link stays the same one unless an event of its own says so. */
static const uint32_t SELF = IN_MOVE_SELF | IN_DELETE_SELF;
static const uint32_t LINK = IN_MOVE_SELF | IN_DELETE_SELF | IN_ATTRIB | IN_DONT_FOLLOW;
static const uint32_t NAMES = IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_MOVE_SELF |
			      IN_DELETE_SELF;
static const uint32_t CONTENT = IN_MODIFY | IN_MOVE_SELF | IN_ATTRIB;

/* A folder or a link that is watched. */
struct place {
	int watch;
	uint32_t mask;
	unsigned round;                 /* the last one that met it */
};

struct watches {
	int fd, mounts_fd;
	struct place *places;           /* by their number */
	size_t n_places, room;
	struct file_systems file_systems;
	unsigned round;
	bool complete;                  /* so far in this round */
	bool grew;                      /* something was not watched before it */
};

/* ---- places ---- */

/* Where a place with this number is, or would be. */
static size_t place_index(const struct watches *w, int watch)
{
	size_t from = 0, to = w->n_places;

	while (from < to) {
		size_t middle = (from + to) / 2;

		if (w->places[middle].watch < watch)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static struct place *find_place(const struct watches *w, int watch)
{
	size_t i = place_index(w, watch);

	return i < w->n_places && w->places[i].watch == watch ? &w->places[i] : NULL;
}

static void forget_place(struct watches *w, struct place *p)
{
	size_t i = (size_t)(p - w->places);

	memmove(p, p + 1, (--w->n_places - i) * sizeof *p);
}

/* NULL: out of memory. */
static struct place *add_place(struct watches *w, int watch)
{
	size_t i = place_index(w, watch);

	if (w->n_places == w->room) {
		size_t room = w->room ? 2 * w->room : 16;
		struct place *grown = reallocarray(w->places, room, sizeof *grown);

		if (!grown)
			return NULL;
		w->places = grown;
		w->room = room;
	}
	memmove(&w->places[i + 1], &w->places[i], (w->n_places++ - i) * sizeof *w->places);
	w->places[i] = (struct place){ .watch = watch };
	return &w->places[i];
}

static void watch(struct watches *w, const char *path, uint32_t mask)
{
	int number = inotify_add_watch(w->fd, path, mask | IN_MASK_ADD);
	struct place *p = number < 0 ? NULL : find_place(w, number);

	if (number >= 0 && !p)
		p = add_place(w, number);
	if (!p) {
		if (number >= 0)
			inotify_rm_watch(w->fd, number);
		w->complete = false;
		return;
	}
	w->grew |= p->mask != (p->mask | mask);
	p->mask |= mask;
	p->round = w->round;
}

/* ---- the way to a file or a folder ---- */

struct way {
	char real[PATH_MAX];            /* the way so far, without links; "": the root */
	char rest[PATH_MAX];            /* what is left to go */
	int links;
};

static const char *or_root(const char *real)
{
	return *real ? real : "/";
}

/* Take the next name off the rest. False: there is none, or the path is too long. */
static bool next_name(struct watches *w, struct way *way, char name[NAME_MAX + 1])
{
	const char *from = way->rest + strspn(way->rest, "/");
	size_t n = strcspn(from, "/");

	if (n == 0)
		return false;
	if (n > NAME_MAX || strlen(way->real) + n + 2 > PATH_MAX) {
		w->complete = false;
		return false;
	}
	memcpy(name, from, n);
	name[n] = '\0';
	memmove(way->rest, from + n, strlen(from + n) + 1);
	return true;
}

static void go_up(struct way *way)
{
	char *slash = strrchr(way->real, '/');

	if (slash)
		*slash = '\0';
}

/* real is a link: go on to what it leads to. */
static bool follow(struct watches *w, struct way *way)
{
	char target[PATH_MAX], rest[PATH_MAX];
	ssize_t n;

	watch(w, way->real, LINK);
	n = readlink(way->real, target, sizeof target - 1);
	if (n < 0 || ++way->links > LINKS_MAX) {
		w->complete = false;
		return false;
	}
	target[n] = '\0';
	if (snprintf(rest, sizeof rest, "%s/%s", target, way->rest) >= (int)sizeof rest) {
		w->complete = false;
		return false;
	}
	memcpy(way->rest, rest, strlen(rest) + 1);
	if (*target == '/')
		way->real[0] = '\0';
	else
		go_up(way);
	return true;
}

/* The way ends in this folder. */
static bool end_in(struct watches *w, const struct way *way)
{
	watch(w, or_root(way->real), NAMES);
	w->complete &= !file_systems_is_layer(&w->file_systems, way->real);
	return false;
}

/* Nothing is there, which somebody may change, or it is no folder. */
static bool end_above(struct watches *w, struct way *way)
{
	go_up(way);
	return end_in(w, way);
}

/* One name further. False: the way ends here. */
static bool go_on(struct watches *w, struct way *way, const char *name)
{
	size_t n = strlen(way->real);
	struct stat st;

	if (strcmp(name, ".") == 0)
		return true;
	if (strcmp(name, "..") == 0) {
		go_up(way);
		return true;
	}
	way->real[n] = '/';
	memcpy(way->real + n + 1, name, strlen(name) + 1);
	if (lstat(way->real, &st) < 0) {
		w->complete &= errno == ENOENT || errno == ENOTDIR;
		return end_above(w, way);
	}
	if (S_ISLNK(st.st_mode))
		return follow(w, way);
	if (!file_systems_tell(&w->file_systems, st.st_dev, way->real))
		w->complete = false;
	if (!S_ISDIR(st.st_mode))
		return end_above(w, way);
	watch(w, way->real, SELF | IN_ONLYDIR);
	return true;
}

static void cover(struct watches *w, const char *path)
{
	struct way way = { .links = 0 };
	char name[NAME_MAX + 1];
	struct stat st;

	if (snprintf(way.rest, sizeof way.rest, "%s", path) >= (int)sizeof way.rest || lstat("/", &st) < 0 ||
	    !file_systems_tell(&w->file_systems, st.st_dev, "/")) {
		w->complete = false;
		return;
	}
	while (next_name(w, &way, name))
		if (!go_on(w, &way, name))
			return;
	end_in(w, &way);
}

void watches_begin(struct watches *w)
{
	if (!w)
		return;
	w->round++;
	w->complete = w->mounts_fd >= 0;
	w->grew = false;
}

void watches_cover_folder(struct watches *w, const char *path)
{
	if (w)
		cover(w, path);
}

void watches_cover_file(struct watches *w, const char *path)
{
	struct stat st;

	if (w && lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		cover(w, path);
}

enum coverage watches_end(struct watches *w)
{
	if (!w)
		return COVER_PARTIAL;
	for (size_t i = w->n_places; i-- > 0;)
		if (w->places[i].round != w->round) {
			inotify_rm_watch(w->fd, w->places[i].watch);
			forget_place(w, &w->places[i]);
		}
	if (w->grew)
		return COVER_GREW;
	return w->complete ? COVER_COMPLETE : COVER_PARTIAL;
}

/* ---- files ---- */

bool watches_trust(struct watches *w, dev_t dev, int fd)
{
	char link[32];

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	return w && file_systems_tell(&w->file_systems, dev, link);
}

int watches_add_file(struct watches *w, int fd)
{
	char link[32];

	if (!w)
		return -1;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	return inotify_add_watch(w->fd, link, CONTENT);
}

void watches_remove_file(struct watches *w, int number)
{
	if (w && number >= 0)
		inotify_rm_watch(w->fd, number);
}

/* ---- events ---- */

static const struct {
	uint32_t mask;
	enum watch_news news;
} of_files[] = {
	{ IN_MODIFY, WATCH_GREW },
	{ IN_MOVE_SELF, WATCH_MOVED },
	{ IN_ATTRIB, WATCH_TOUCHED },
	{ IN_IGNORED, WATCH_GONE },
};

/* True: a name changed. */
static bool take(struct watches *w, const struct inotify_event *event, watch_fn fn, void *data)
{
	struct place *p;

	if (event->mask & IN_Q_OVERFLOW) {
		fn(data, -1, WATCH_OVERFLOW);
		return true;
	}
	p = find_place(w, event->wd);
	if (p && event->mask & IN_IGNORED)
		forget_place(w, p);             /* it is gone: the kernel watches it no more */
	if (p)
		return true;
	for (size_t i = 0; i < sizeof of_files / sizeof *of_files; i++)
		if (event->mask & of_files[i].mask)
			fn(data, event->wd, of_files[i].news);
	return event->mask & ~(uint32_t)(IN_MODIFY | IN_IGNORED);
}

bool watches_read(struct watches *w, watch_fn fn, void *data)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool names = false;
	ssize_t n;

	while (w && (n = read(w->fd, events, sizeof events)) > 0)
		for (const char *p = events; p < events + n;) {
			const struct inotify_event *event = (const void *)p;

			names |= take(w, event, fn, data);
			p += sizeof *event + event->len;
		}
	return names;
}

/* ---- life ---- */

struct watches *watches_new(void)
{
	struct watches *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	w->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (w->fd < 0) {
		watches_free(w);
		return NULL;
	}
	file_systems_read(&w->file_systems);
	return w;
}

void watches_free(struct watches *w)
{
	if (!w)
		return;
	close_p(&w->fd);
	close_p(&w->mounts_fd);
	free(w->places);
	file_systems_free(&w->file_systems);
	free(w);
}

int watches_fd(const struct watches *w)
{
	return w ? w->fd : -1;
}

int watches_mounts_fd(const struct watches *w)
{
	return w ? w->mounts_fd : -1;
}

void watches_mounts_changed(struct watches *w)
{
	if (w)
		file_systems_read(&w->file_systems);
}
