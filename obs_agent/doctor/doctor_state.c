/*
 * doctor_state.c - the folder in which the agent keeps undelivered samples: is it there, can it be written?
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "doctor.h"
#include "common/doctor_say.h"

enum {
	TRIAL_BYTES = 64 << 10, /* that are written; no name ever shows them */
	ROOM_MIB = 64,          /* the agent may need this much in a long outage */
};

static void state_folder(const char *app, char path[PATH_MAX])
{
	const char *given = getenv("STATE_DIRECTORY");

	if (given && *given)
		snprintf(path, PATH_MAX, "%s", given);
	else
		snprintf(path, PATH_MAX, "/var/lib/obs-agent/%s", app);
}

bool doctor_never_started(const char *app)
{
	char path[PATH_MAX];

	state_folder(app, path);
	return access(path, F_OK) < 0 && errno == ENOENT;
}

/* Write to a file without a name, which the kernel removes at once: a quota, a broken disk or a security
 * module shows only when somebody writes. 0, or -errno. */
static int try_to_write(const char *path)
{
	static const char zeros[TRIAL_BYTES];
	CLEANUP(close_p) int fd = open(path, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
	ssize_t n;

	if (fd < 0)
		return errno == EOPNOTSUPP || errno == EISDIR ? 0 : -errno; /* not every file system can */
	n = write(fd, zeros, sizeof zeros);
	return n < 0 ? -errno : n < TRIAL_BYTES ? -ENOSPC : 0;
}

static const char *remedy(int error)
{
	switch (error) {
	case EACCES:
	case EPERM: return "give it to the agent's user: chown -R obs-agent on it";
	case ENOSPC:
	case EDQUOT:
		return "free space on its file system (df -h and df -i show it), or raise the user's quota";
	case EROFS:
		return "mount its file system writable: mount -o remount,rw; if the kernel made it "
		       "read-only, check the disk (dmesg)";
	case ENOTDIR: return "remove what is there in its place, and start the unit again";
	default: return "check the disk (dmesg)";
	}
}

/* What would fail if systemd made the folder now? The parent that is there tells. */
static int check_parent(char path[PATH_MAX], struct doctor_report *out)
{
	char wanted[PATH_MAX];
	struct statvfs fs;
	int error = 0;

	memcpy(wanted, path, PATH_MAX);
	for (char *slash; access(path, F_OK) < 0 && (slash = strrchr(path, '/')); *slash = '\0')
		if (slash == path) {
			slash[1] = '\0';
			break;
		}
	if (statvfs(path, &fs) == 0)
		error = fs.f_flag & ST_RDONLY ? EROFS : fs.f_blocks && fs.f_bavail == 0 ? ENOSPC : 0;
	if (error)
		return doctor_line(out, false, remedy(error),
				   "state folder %s can't be made when the unit starts: %s", wanted,
				   strerror(error));
	return doctor_line(out, true, NULL,
			   "state folder %s is not there yet: systemd makes it when the unit starts", wanted);
}

int doctor_state_folder(const char *app, struct doctor_report *out)
{
	char path[PATH_MAX];
	struct statvfs fs;
	struct stat st;
	int error;

	state_folder(app, path);
	if (eaccess(path, F_OK) < 0 && errno == ENOENT)
		return check_parent(path, out);
	error = stat(path, &st) == 0 && !S_ISDIR(st.st_mode) ? ENOTDIR
		: eaccess(path, R_OK | W_OK | X_OK) < 0      ? errno
							     : -try_to_write(path);
	if (error)
		return doctor_line(
			out, false, remedy(error),
			"state folder %s can't be written (%s): while the database is away, the agent "
			"keeps samples in memory only, and a restart would lose them",
			path, strerror(error));
	if (statvfs(path, &fs) == 0 && fs.f_blocks &&
	    (uint64_t)fs.f_bavail * fs.f_frsize < (uint64_t)ROOM_MIB << 20)
		return doctor_warn(
			out,
			"state folder %s has %d MiB of space left, and a long outage of the database "
			"may need %d MiB; free space on its file system",
			path, (int)((uint64_t)fs.f_bavail * fs.f_frsize >> 20), ROOM_MIB);
	return doctor_line(out, true, NULL, "state folder %s is writable", path);
}
