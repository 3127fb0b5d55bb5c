#include "identity.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fingerprint.h"

/* When the file was made; 0 where the file system does not say. */
static struct statx_timestamp born(int fd, const char *path)
{
	struct statx x = { 0 };

	if (statx(fd, path, *path ? 0 : AT_EMPTY_PATH, STATX_BTIME, &x) < 0 || !(x.stx_mask & STATX_BTIME))
		return (struct statx_timestamp){ 0 };
	return x.stx_btime;
}

/* Inode numbers are used again for the next file: the time of birth tells them apart. */
static void identify_by_inode(int fd, const struct stat *st, char *out, size_t size)
{
	struct statx_timestamp b = born(fd, "");

	if (b.tv_sec)
		snprintf(out, size, "%ju@%lld.%09u", (uintmax_t)st->st_ino, (long long)b.tv_sec, b.tv_nsec);
	else
		snprintf(out, size, "%ju", (uintmax_t)st->st_ino);
}

/* "major:minor/type:handle", or "major:minor/inode@birth" where the file system
 * gives no handle. A handle holds the inode's generation: unlike the inode number
 * it is not used again for the next file. */
static void find_file_id(int fd, const struct stat *st, char *out, size_t size)
{
	struct {
		struct file_handle h;
		unsigned char bytes[MAX_HANDLE_SZ];
	} handle = { .h.handle_bytes = MAX_HANDLE_SZ };
	int mount, n = snprintf(out, size, "%u:%u/", major(st->st_dev), minor(st->st_dev));

	if (n < 0 || (size_t)n >= size)
		return;
	out += n;
	size -= (size_t)n;
	if (name_to_handle_at(fd, "", &handle.h, &mount, AT_EMPTY_PATH) < 0 ||
	    handle.h.handle_bytes * 2 + 12 > size) {
		identify_by_inode(fd, st, out, size);
		return;
	}
	n = snprintf(out, size, "%d:", handle.h.handle_type);
	for (unsigned i = 0; i < handle.h.handle_bytes; i++)
		n += snprintf(out + n, size - (size_t)n, "%02x", handle.bytes[i]);
}

/* The part that survives a reboot in which devices are numbered anew. */
static const char *without_device(const char *file_id)
{
	const char *slash = strchr(file_id, '/');

	return slash ? slash : file_id;
}

bool identity_same_file(const char *file_id, const char *other)
{
	return strcmp(without_device(file_id), without_device(other)) == 0;
}

uint64_t identity_key(const char *file_id)
{
	const char *part = without_device(file_id);

	return fingerprint_hash(part, strlen(part)) | 1;
}

void identity_of(int fd, const struct stat *st, struct identity *ret)
{
	*ret = (struct identity){ .dev = st->st_dev, .ino = st->st_ino, .born = born(fd, "") };
	find_file_id(fd, st, ret->file_id, sizeof ret->file_id);
	ret->key = identity_key(ret->file_id);
}

bool identity_replaced(const struct identity *i, const char *path)
{
	struct statx_timestamp b = born(AT_FDCWD, path);

	return b.tv_sec != i->born.tv_sec || b.tv_nsec != i->born.tv_nsec;
}
