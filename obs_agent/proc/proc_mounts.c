#include "proc_mounts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "common/cleanup.h"

enum { FIRST_LINES = 64 };

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

/* "/" counts also as an overlay, or as FUSE of this machine (a container); network file
 * systems may hang. */
static bool wanted(const struct mount_line *l)
{
	if (strcmp(l->point, "/") == 0)
		return !remote_fs(l->fs) || strcmp(l->fs, "fuse.fuse-overlayfs") == 0;
	return local_fs(l->fs);
}

static bool below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* ---- mounts ------------------------------------------------------------------------------ */

/* The mounts that matter: those to list, and those that may hang. */
struct lines {
	struct mount_usage *line;       /* without figures */
	size_t n, cap;
	bool short_of_memory;
};

static void lines_free(struct lines *t)
{
	free(t->line);
}

static void add_line(struct lines *t, const struct mount_line *l)
{
	struct mount_usage *more;
	size_t cap = t->cap ? 2 * t->cap : FIRST_LINES;

	if (t->n == t->cap) {
		more = reallocarray(t->line, cap, sizeof *more);
		t->short_of_memory |= !more;
		if (!more)
			return;
		t->line = more;
		t->cap = cap;
	}
	t->line[t->n++] = (struct mount_usage){ .line = *l, .shown_percent = NAN };
}

/* A later mount hides earlier ones at the same path and below it. Those that only the agent's
 * sandbox hides stay: they are there for everybody else. */
static void hide_covered(struct lines *t, const struct mount_line *by)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++) {
		const char *point = t->line[i].line.point;
		bool covered = strcmp(point, by->point) == 0 || below(point, by->point);

		if (covered && !by->closes)
			continue;
		t->line[i].closed |= covered;
		t->line[n++] = t->line[i];
	}
	t->n = n;
}

static bool below_remote(const struct lines *t, const char *path)
{
	for (size_t i = 0; i < t->n; i++)
		if (remote_fs(t->line[i].line.fs) && below(path, t->line[i].line.point))
			return true;
	return false;
}

static void read_lines(struct lines *t, struct text mountinfo, bool *ret_own_meminfo)
{
	struct mount_line l;
	struct text line;

	*ret_own_meminfo = false;
	while (proc_line(&mountinfo, &line)) {
		if (!proc_mount_line(line, &l))
			continue;
		*ret_own_meminfo |= strcmp(l.point, "/proc/meminfo") == 0;
		hide_covered(t, &l);
		if (wanted(&l) || remote_fs(l.fs))
			add_line(t, &l);
	}
}

/* ---- file systems ------------------------------------------------------------------------ */

static bool is_root(const struct mount_usage *u)
{
	return strcmp(u->line.point, "/") == 0;
}

/* Does `a` name the file system better than `b`? */
static bool better_name(const struct mount_usage *a, const struct mount_usage *b)
{
	if (a->closed != b->closed)
		return b->closed;
	if (is_root(a) != is_root(b))
		return is_root(a);
	if (a->line.whole != b->line.whole)
		return a->line.whole;
	return strlen(a->line.point) < strlen(b->line.point);
}

static bool same_device(const struct mount_usage *a, const struct mount_usage *b)
{
	return a->line.major == b->line.major && a->line.minor == b->line.minor;
}

static void put(struct mounts *t, const struct mount_usage *u)
{
	for (size_t i = 0; i < t->n; i++) {
		if (!same_device(&t->m[i], u))
			continue;
		if (better_name(u, &t->m[i]))
			t->m[i] = *u;
		return;
	}
	if (t->n < MOUNTS_MAX)
		t->m[t->n++] = *u;
}

static bool has_device(const struct mounts *t, const struct mount_usage *u)
{
	for (size_t i = 0; i < t->n; i++)
		if (same_device(&t->m[i], u))
			return true;
	return false;
}

static bool may_be_asked(const struct lines *lines, const struct mount_usage *u)
{
	return wanted(&u->line) && !below_remote(lines, u->line.point);
}

/* How many file systems are beyond MOUNTS_MAX. */
static size_t count_left_out(const struct mounts *t, const struct lines *lines)
{
	size_t n = 0;

	for (size_t i = 0; i < lines->n; i++) {
		const struct mount_usage *u = &lines->line[i];
		bool fresh = may_be_asked(lines, u) && !has_device(t, u);

		for (size_t k = 0; k < i && fresh; k++)
			fresh = !same_device(&lines->line[k], u) || !may_be_asked(lines, &lines->line[k]);
		n += fresh;
	}
	return n;
}

/* "/" comes first, so that the limit never leaves it out. */
static void put_all(struct mounts *t, const struct lines *lines)
{
	for (int root = 1; root >= 0; root--)
		for (size_t i = 0; i < lines->n; i++) {
			const struct mount_usage *u = &lines->line[i];

			if (is_root(u) == root && may_be_asked(lines, u))
				put(t, u);
		}
	t->left_out = t->n == MOUNTS_MAX ? count_left_out(t, lines) : 0;
}

static bool same_set(const struct mounts *a, const struct mounts *b)
{
	if (a->n != b->n || a->left_out != b->left_out)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct mount_line *x = &a->m[i].line, *y = &b->m[i].line;

		if (a->m[i].closed != b->m[i].closed || x->major != y->major || x->minor != y->minor ||
		    x->read_only != y->read_only || strcmp(x->point, y->point) != 0 ||
		    strcmp(x->fs, y->fs) != 0)
			return false;
	}
	return true;
}

bool mounts_read(struct mounts *t, struct text mountinfo)
{
	CLEANUP(lines_free) struct lines lines = { 0 };
	CLEANUP(free_p) struct mounts *now = calloc(1, sizeof *now);

	if (!now)
		return false;
	read_lines(&lines, mountinfo, &now->own_meminfo);
	if (lines.short_of_memory)
		return false;           /* try again at the next change */
	put_all(now, &lines);
	t->own_meminfo = now->own_meminfo;
	if (same_set(t, now))
		return false;
	/* not all of it: memory that is not used costs none */
	memcpy(t->m, now->m, now->n * sizeof now->m[0]);
	t->n = now->n;
	t->left_out = now->left_out;
	return true;
}

static void measure(struct mount_usage *u, const char *root)
{
	char path[2 * MOUNT_POINT_MAX];
	struct statvfs v;
	double used, unit;

	u->percent = u->inode_percent = u->total_gb = u->used_gb = NAN;
	if (u->closed || snprintf(path, sizeof path, "%s%s", root, u->line.point) >= (int)sizeof path ||
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
	size_t begin = out->len;

	t->not_shown = 0;
	if (!buf_addc(out, '['))
		return false;
	for (size_t i = 0; i < t->n; i++) {
		if (out->len - begin > MOUNTS_JSON_MAX) {
			t->not_shown = t->n - i;
			break;
		}
		if ((i && !buf_addc(out, ',')) || !add_mount(out, &t->m[i]))
			return false;
		t->m[i].shown_percent = t->m[i].percent;
	}
	return buf_addc(out, ']');
}
