#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"

enum { NOT_FOUND = 127, SAID_MAX = 1024 * 1024 };

/* Files in memory rather than pipes: nobody waits for the other side. */
static int memory(const char *name, struct text content)
{
	CLEANUP(close_p) int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0 || (content.len && write(fd, content.s, content.len) != (ssize_t)content.len) ||
	    lseek(fd, 0, SEEK_SET) < 0)
		return -1;
	return TAKE_FD(fd);
}

static bool become(const struct passwd *user)
{
	return initgroups(user->pw_name, user->pw_gid) == 0 && setgid(user->pw_gid) == 0 &&
	       setuid(user->pw_uid) == 0 && chdir("/") == 0;
}

static void child(const struct command *c, const struct passwd *user, const int standard[3])
{
	for (int i = 0; i < 3; i++)
		if (standard[i] >= 0 && dup2(standard[i], i) < 0)
			_exit(NOT_FOUND);
	if (user && !become(user))
		_exit(NOT_FOUND);
	/* execvp() promises not to write what its type lets it. */
	execvp(c->argv[0], (union {
				   const char *const *ours;
				   char *const *theirs;
			   }){ c->argv }
				   .theirs);
	_exit(NOT_FOUND);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool take(int fd, struct buf *to)
{
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	char *room = size > 0 ? buf_room(to, (size_t)size) : NULL;

	if (size <= 0)
		return size == 0;
	if (!room || pread(fd, room, (size_t)size, 0) != (ssize_t)size)
		return false;
	to->len += (size_t)size;
	return true;
}

int command_run(const struct command *c, struct buf *out, struct buf *said, struct err *e)
{
	const struct passwd *user = c->user ? getpwnam(c->user) : NULL;
	CLEANUP(close_p)
	int input = c->input.s ? memory("input", c->input) : open("/dev/null", O_RDONLY | O_CLOEXEC);
	CLEANUP(close_p) int output = out ? memory("output", (struct text){ 0 }) : -1;
	CLEANUP(close_p) int errors = said ? memory("errors", (struct text){ 0 }) : -1;
	pid_t pid;
	int status;

	if (c->user && !user)
		return err_set(e, ENOENT, "there is no user %s", c->user);
	if (input < 0 || (out && output < 0) || (said && errors < 0))
		return err_set(e, errno, "%s: %s", c->argv[0], strerror(errno));
	pid = fork();
	if (pid == 0)
		child(c, user, (int[]){ input, output, errors });
	status = pid < 0 ? -errno : wait_for(pid);
	if (status < 0)
		return err_set(e, -status, "%s can't be run: %s", c->argv[0], strerror(-status));
	if (!take(output, out) || !take(errors, said))
		return err_set(e, EFBIG, "%s wrote more than expected", c->argv[0]);
	return status;
}

int command_must(const char *const *argv, struct err *e)
{
	CLEANUP(buf_free) struct buf said = BUF(SAID_MAX);
	int status = command_run(&(struct command){ .argv = argv }, &said, &said, e);
	const char *text = buf_cstr(&said);

	if (status <= 0)
		return status;
	if (status == NOT_FOUND)
		return err_set(e, ENOENT, "there is no program %s in PATH", argv[0]);
	return err_set(e, EIO, "%s: %.*s", argv[0], text ? (int)strcspn(text, "\n") : 0, text ? text : "");
}

bool command_exists(const char *name)
{
	const char *folder = getenv("PATH");
	char path[4096];

	for (size_t n; folder && *folder; folder += n + (folder[n] == ':')) {
		n = strcspn(folder, ":");
		if ((size_t)snprintf(path, sizeof path, "%.*s/%s", (int)n, folder, name) < sizeof path &&
		    access(path, X_OK) == 0)
			return true;
	}
	return false;
}
