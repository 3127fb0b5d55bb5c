#include "file_systems.h"

#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "common/cleanup.h"
#include "common/parse.h"

/* File systems on which every change is made by this kernel, so that it can tell of it. Elsewhere another
 * machine, a program or a layer below may change a file. */
static bool is_local(long type)
{
	static const unsigned long local[] = {
		EXT4_SUPER_MAGIC,     XFS_SUPER_MAGIC,      BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
		RAMFS_MAGIC,          F2FS_SUPER_MAGIC,     SQUASHFS_MAGIC,    MSDOS_SUPER_MAGIC,
		EROFS_SUPER_MAGIC_V1, REISERFS_SUPER_MAGIC, ISOFS_SUPER_MAGIC, 0x3153464a, /* JFS */
		0x2fc12fc1,           /* ZFS */             0xca451a4e,        /* bcachefs */
	};

	for (size_t i = 0; i < sizeof local / sizeof *local; i++)
		if ((unsigned long)type == local[i])
			return true;
	return false;
}

bool file_systems_tell(struct file_systems *f, dev_t dev, const char *path)
{
	struct statfs fs;
	bool tells;

	for (size_t i = 0; i < f->n_devices; i++)
		if (f->devices[i].dev == dev)
			return f->devices[i].tells;
	tells = statfs(path, &fs) == 0 && is_local(fs.f_type);
	if (f->n_devices < FILE_SYSTEMS_MAX)
		f->devices[f->n_devices++] = (struct file_system){ dev, tells };
	return tells;
}

void file_systems_read(struct file_systems *f)
{
	CLEANUP(fclose_p) FILE *mounts = fopen("/proc/self/mountinfo", "re");
	CLEANUP(free_p) char *line = NULL;
	size_t size = 0;

	file_systems_free(f);
	while (mounts && getline(&line, &size, mounts) > 0) {
		const char *type = strstr(line, " - overlay ");
		const char *upper = type ? strstr(type, "upperdir=") : NULL;
		char path[PATH_MAX];

		if (!upper)
			continue;
		upper += strlen("upperdir=");
		if (parse_mount_text((struct text){ upper, strcspn(upper, ",\n") }, path, sizeof path))
			path_list_add(&f->layers, path);
	}
}

bool file_systems_is_layer(const struct file_systems *f, const char *real)
{
	for (size_t i = 0; i < f->layers.n; i++) {
		size_t n = strlen(f->layers.path[i]);

		if (strncmp(real, f->layers.path[i], n) == 0 && (!real[n] || real[n] == '/'))
			return true;
	}
	return false;
}

void file_systems_free(struct file_systems *f)
{
	path_list_free(&f->layers);
	*f = (struct file_systems){ .n_devices = 0 };
}
