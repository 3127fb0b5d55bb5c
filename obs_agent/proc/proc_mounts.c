#include "proc_mounts.h"

#include <math.h>
#include <stdio.h>
#include <sys/statvfs.h>

enum { REMOTE_MAX = 16 };

static const double GB = 1024.0 * 1024.0 * 1024.0;      /* as df -h counts */
static const double MOVED_POINTS = 0.5;

static bool one_of(const char *fs, const char *const list[])
{
	for (size_t i = 0; list[i]; i++)
		if (strcmp(fs, list[i]) == 0)
			return true;
	return false;
}

/* On a disk of this machine. ZFS and overlay have no device of their own, so
 * /proc/filesystems cannot tell. */
static bool local_fs(const char *fs)
{
	static const char *const list[] = {
		"ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "zfs", "f2fs", "jfs", "nilfs2",
		"reiserfs", "vfat", "exfat", "ntfs3", "hfsplus", "ufs", NULL,
	};

	return one_of(fs, list);
}

/* A path on or below it may never answer; autofs would mount something. */
static bool remote_fs(const char *fs)
{
	static const char *const list[] = {
		"nfs", "nfs4", "cifs", "smb3", "ceph", "afs", "coda", "9p", "lustre", "gpfs", "gfs2",
		"ocfs2", "orangefs", "beegfs", "autofs", "fuse", "fuseblk", NULL,
	};

	return one_of(fs, list) || strncmp(fs, "fuse.", 5) == 0;
}

/* The root of a container is whatever it is, an overlay or a FUSE one of this
 * machine; only a server's may hang. */
static bool wanted(const struct mount_line *l)
{
	if (strcmp(l->point, "/") == 0)
		return !remote_fs(l->fs) || strcmp(l->fs, "fuse.fuse-overlayfs") == 0;
	/* Part of a file system: a bind mount, or a subvolume, which btrfs mounts like one. */
	return local_fs(l->fs) && (l->whole || strcmp(l->fs, "btrfs") == 0);
}

static bool below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

struct remote {
	char point[REMOTE_MAX][MOUNT_POINT_MAX];
	size_t n;
};

static bool below_remote(const struct remote *r, const char *path)
{
	for (size_t i = 0; i < r->n; i++)
		if (below(path, r->point[i]))
			return true;
	return false;
}

static void remember_remote(struct remote *r, const char *path)
{
	if (r->n < REMOTE_MAX)
		memcpy(r->point[r->n++], path, MOUNT_POINT_MAX);
}

static void drop(struct mounts *t, size_t i)
{
	memmove(&t->m[i], &t->m[i + 1], (t->n - i - 1) * sizeof t->m[0]);
	t->n--;
}

/* A later mount hides what was at the same place or below it. */
static void drop_covered(struct mounts *t, const char *point)
{
	for (size_t i = t->n; i-- > 0;)
		if (strcmp(t->m[i].line.point, point) == 0 || below(t->m[i].line.point, point))
			drop(t, i);
}

/* Of several mounts of one file system the shortest path names it. */
static void put(struct mounts *t, const struct mount_line *l)
{
	for (size_t i = 0; i < t->n; i++) {
		struct mount_line *have = &t->m[i].line;

		if (have->major != l->major || have->minor != l->minor)
			continue;
		if (strlen(l->point) < strlen(have->point))
			*have = *l;
		return;
	}
	if (t->n < MOUNTS_MAX)
		t->m[t->n++] = (struct mount_usage){ .line = *l, .shown_percent = NAN };
}

static bool same_set(const struct mounts *a, const struct mounts *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct mount_line *x = &a->m[i].line, *y = &b->m[i].line;

		if (x->major != y->major || x->minor != y->minor || x->read_only != y->read_only ||
		    strcmp(x->point, y->point) != 0 || strcmp(x->fs, y->fs) != 0)
			return false;
	}
	return true;
}

bool mounts_read(struct mounts *t, struct text mountinfo)
{
	struct mounts now = { .n = 0 };
	struct remote remote = { .n = 0 };
	struct mount_line l;
	struct text line;

	while (proc_line(&mountinfo, &line)) {
		if (!proc_mount_line(line, &l))
			continue;
		drop_covered(&now, l.point);
		if (remote_fs(l.fs))
			remember_remote(&remote, l.point);
		if (wanted(&l) && !below_remote(&remote, l.point))
			put(&now, &l);
	}
	if (same_set(t, &now))
		return false;
	*t = now;
	return true;
}

static void measure(struct mount_usage *u, const char *root)
{
	char path[2 * MOUNT_POINT_MAX];
	struct statvfs v;
	double used, unit;

	u->percent = u->inode_percent = u->total_gb = u->used_gb = NAN;
	if (snprintf(path, sizeof path, "%s%s", root, u->line.point) >= (int)sizeof path ||
	    statvfs(path, &v) < 0 || v.f_blocks == 0)
		return;
	unit = (double)(v.f_frsize ? v.f_frsize : v.f_bsize);
	used = (double)(v.f_blocks - v.f_bfree);
	if (used + (double)v.f_bavail > 0)
		u->percent = 100 * used / (used + (double)v.f_bavail);
	u->used_gb = used * unit / GB;
	u->total_gb = (double)v.f_blocks * unit / GB;
	if (v.f_files > 0)
		u->inode_percent = 100 * (double)(v.f_files - v.f_ffree) / (double)v.f_files;
}

void mounts_measure(struct mounts *t, const char *root)
{
	for (size_t i = 0; i < t->n; i++)
		measure(&t->m[i], root);
}

const struct mount_usage *mounts_root(const struct mounts *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->m[i].line.point, "/") == 0)
			return &t->m[i];
	return NULL;
}

bool mounts_moved(const struct mounts *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct mount_usage *u = &t->m[i];

		if (isnan(u->percent) != isnan(u->shown_percent) ||
		    fabs(u->percent - u->shown_percent) >= MOVED_POINTS)
			return true;
	}
	return false;
}

static bool add_number(struct buf *out, const char *key, double v, int decimals)
{
	if (isnan(v))
		return buf_addf(out, ",\"%s\":null", key);
	return buf_addf(out, ",\"%s\":%.*f", key, decimals, v);
}

static bool add_mount(struct buf *out, const struct mount_usage *u)
{
	return buf_adds(out, "{\"mount\":") && buf_add_json(out, text_of(u->line.point)) &&
	       buf_adds(out, ",\"fs\":") && buf_add_json(out, text_of(u->line.fs)) &&
	       add_number(out, "percent", u->percent, 1) &&
	       add_number(out, "total_gb", u->total_gb, 2) &&
	       add_number(out, "used_gb", u->used_gb, 2) &&
	       add_number(out, "inode_percent", u->inode_percent, 1) &&
	       buf_addf(out, ",\"read_only\":%s}", u->line.read_only ? "true" : "false");
}

bool mounts_json(struct mounts *t, struct buf *out)
{
	if (!buf_addc(out, '['))
		return false;
	for (size_t i = 0; i < t->n; i++) {
		if ((i && !buf_addc(out, ',')) || !add_mount(out, &t->m[i]))
			return false;
		t->m[i].shown_percent = t->m[i].percent;
	}
	return buf_addc(out, ']');
}
