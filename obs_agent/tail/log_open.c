#include "log_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"

enum {
	LINKS_MAX = 16,                 /* symbolic links on the way to one file */
	OTHER_UID = 65534,              /* what the kernel says of owners that it can't name here */
};

/* One path on its way to becoming a real one. */
struct way {
	const char *path;               /* as it was asked for: for messages */
	int links;                      /* met so far */
	struct err *e;
};

/* ---- without links ---- */

/* A kernel before 5.6 or a system call filter: the same, a folder at a time. */
static int open_stepwise(const char *path, int flags)
{
	CLEANUP(close_p) int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char name[NAME_MAX + 1];

	for (path += strspn(path, "/"); at >= 0 && *path;) {
		size_t n = strcspn(path, "/");
		const char *rest = path + n + strspn(path + n, "/");
		int next;

		if (n > NAME_MAX) {
			errno = ENAMETOOLONG;
			return -1;
		}
		snprintf(name, sizeof name, "%.*s", (int)n, path);
		next = openat(at, name, O_NOFOLLOW | (*rest ? O_PATH | O_DIRECTORY | O_CLOEXEC : flags));
		close(at);
		at = next;
		path = rest;
	}
	if (at < 0 && errno == ENOTDIR)         /* what O_DIRECTORY says of a link */
		errno = ELOOP;
	return TAKE_FD(at);
}

/* Open `path` if no part of it is a symbolic link; else ELOOP. */
static int open_straight(const char *path, int flags)
{
	struct open_how how = { .flags = (unsigned)flags,
				.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);

	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		return open_stepwise(path, flags);
	return fd;
}

/* ---- links ---- */

static bool is_known(uid_t uid)
{
	return uid != OTHER_UID;
}

static bool is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && (path[n] == '/' || (n && folder[n - 1] == '/'));
}

/* Is it root's, and everything above it, so that nobody else can move it? */
static bool stays_where_it_is(const char *folder)
{
	char path[PATH_MAX];
	struct stat st;

	for (snprintf(path, sizeof path, "%s", *folder ? folder : "/");;) {
		char *slash = strrchr(path, '/');

		if (lstat(path, &st) < 0 || st.st_uid != 0 ||
		    ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX)))
			return false;
		if (!slash || !path[1])
			return true;
		slash[slash == path] = '\0';
	}
}

/* May the link of `owner` in `folder` lead to `real`? Where a folder can be moved, so can what a relative
 * link in it leads to: of root's it is taken for one of the folder's owner. */
static bool may_lead(uid_t owner, const char *folder, const char *text, const char *real)
{
	bool fixed = *text == '/' || stays_where_it_is(folder);
	struct stat in, st;

	if ((owner == 0 && fixed) || (owner == geteuid() && owner != 0 && is_known(owner)))
		return true;
	if (lstat(*folder ? folder : "/", &in) < 0)
		return false;
	if (owner == 0)
		owner = in.st_uid;
	if (owner != 0 && is_known(owner) && lstat(real, &st) == 0 && st.st_uid == owner)
		return true;
	return in.st_uid == owner && !(in.st_mode & S_IWOTH) && is_below(real, folder);
}

static int refusal(const struct way *w)
{
	return err_set(w->e, errno, "%s: %s", w->path, strerror(errno));
}

static int resolve(struct way *w, const char *path, char real[PATH_MAX]);

/* Owner and text of the link itself: of one and the same, whatever stands there now. 0: it is no link. */
static int read_link(const struct way *w, const char *path, uid_t *ret_owner, char text[PATH_MAX])
{
	CLEANUP(close_p) int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return refusal(w);
	if (!S_ISLNK(st.st_mode))
		return 0;
	n = readlinkat(fd, "", text, PATH_MAX - 1);
	if (n < 0)
		return refusal(w);
	text[n] = '\0';
	*ret_owner = st.st_uid;
	return 1;
}

/* `real` was a folder and is now one of its names: go on to what that leads to if it is a link. */
static int follow_link(struct way *w, const char *folder, char real[PATH_MAX])
{
	char text[PATH_MAX] = "", target[PATH_MAX], link[PATH_MAX];
	uid_t owner = OTHER_UID;
	int r = read_link(w, real, &owner, text);

	if (r <= 0)
		return r;
	if (++w->links > LINKS_MAX)
		return err_set(w->e, ELOOP, "%s: more than %d symbolic links; name the file itself", w->path,
			       LINKS_MAX);
	memcpy(link, real, strlen(real) + 1);
	r = snprintf(target, sizeof target, "%s%s%s", *text == '/' ? "" : folder, *text == '/' ? "" : "/",
		     text);
	if (r >= PATH_MAX)
		return err_set(w->e, ENAMETOOLONG, "%s: a symbolic link leads to a path that is too long",
			       w->path);
	r = resolve(w, target, real);
	if (r < 0 || may_lead(owner, folder, text, real))
		return r;
	return err_set(w->e, EPERM,
		       "%s: the symbolic link %s leads to what its owner (uid %u) does not own: not "
		       "followed; name the file itself in log_files, or make it an absolute link of root's",
		       w->path, link, (unsigned)owner);
}

/* Store `path` without its links in `real` ("" is the root). */
static int resolve(struct way *w, const char *path, char real[PATH_MAX])
{
	size_t len = 0;

	real[0] = '\0';
	for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
		size_t n = strcspn(path, "/");
		char folder[PATH_MAX];
		int r;

		if (len + n + 2 > PATH_MAX)
			return err_set(w->e, ENAMETOOLONG, "%s: the path is too long", w->path);
		if (n == 2 && memcmp(path, "..", 2) == 0) {
			while (len > 0 && real[--len] != '/')
				;
			real[len] = '\0';
		} else if (n != 1 || *path != '.') {
			memcpy(folder, real, len + 1);
			real[len] = '/';
			memcpy(real + len + 1, path, n);
			real[len + 1 + n] = '\0';
			r = follow_link(w, folder, real);
			if (r < 0)
				return r;
			len = strlen(real);
		}
		path += n;
	}
	return 0;
}

/* ---- the file ---- */

/* File systems whose files are doors into the kernel or into processes. */
static bool holds_no_files(int fd)
{
	static const long magics[] = { PROC_SUPER_MAGIC,    SYSFS_MAGIC,      DEBUGFS_MAGIC,
				       TRACEFS_MAGIC,       SECURITYFS_MAGIC, CGROUP_SUPER_MAGIC,
				       CGROUP2_SUPER_MAGIC, BPF_FS_MAGIC,     SELINUX_MAGIC,
				       EFIVARFS_MAGIC,      BINFMTFS_MAGIC };
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return true;
	for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
		if (fs.f_type == magics[i])
			return true;
	return false;
}

/* Could somebody other than its owner and root have made this name of the file? */
static bool may_be_planted(const struct stat *file, const struct stat *folder)
{
	bool safe_owner = folder->st_uid == 0 || (folder->st_uid == file->st_uid && is_known(file->st_uid));

	return file->st_nlink > 1 && (!safe_owner || (folder->st_mode & (S_IWGRP | S_IWOTH)));
}

static int judge(const char *path, int fd, const struct stat *st, const struct stat *folder, struct err *e)
{
	if (!S_ISREG(st->st_mode))
		return err_set(e, EPERM, "%s: not a regular file; name one", path);
	if (holds_no_files(fd))
		return err_set(e, EPERM,
			       "%s: this file system holds no log files (/proc, /sys and the like); name "
			       "another file",
			       path);
	if (may_be_planted(st, folder))
		return err_set(e, EPERM,
			       "%s: the file has %ju names (hard links), and others than its owner can make "
			       "such names in its folder: not read; remove the other names, or close the "
			       "folder to others (chmod go-w)",
			       path, (uintmax_t)st->st_nlink);
	return 0;
}

/* What a descriptor without access stands for, opened: no name is looked up. A lease on the file must not
 * hold us up. */
static int open_for_reading(int fd)
{
	char self[32];

	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	return open(self, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* `path` has no links; where one came meanwhile it is ELOOP. */
static int open_real(struct way *w, const char *path, struct stat *ret_st)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	CLEANUP(close_p) int at = -1;
	CLEANUP(close_p) int fd = -1;
	struct stat st, above;
	int r;

	if (!slash || !slash[1] || strlen(path) >= PATH_MAX)
		return err_set(w->e, EINVAL, "%s: not the path of a file", w->path);
	snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	at = open_straight(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at >= 0)
		fd = openat(at, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || fstat(at, &above) < 0)
		return refusal(w);
	if (S_ISLNK(st.st_mode))
		return err_set(w->e, ELOOP, "%s: a symbolic link", w->path);
	r = judge(w->path, fd, &st, &above, w->e);
	if (r < 0)
		return r;
	r = open_for_reading(fd);
	if (r < 0)
		return refusal(w);
	*ret_st = st;
	return r;
}

int log_open_file(const char *path, struct stat *ret_st, struct err *e)
{
	struct way w = { .path = path, .e = e };
	char real[PATH_MAX];
	int r = open_real(&w, path, ret_st);

	if (r != -ELOOP)
		return r;
	r = resolve(&w, path, real);
	return r < 0 ? r : open_real(&w, real, ret_st);
}
