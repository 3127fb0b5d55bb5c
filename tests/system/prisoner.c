/*
 * prisoner.c - run in place of a service, inside its sandbox: tries to get out, and what it must be able
 * to do.
 *
 *   prisoner ATTEMPT[=ARGUMENT]...     one line for each: "ATTEMPT[=ARGUMENT] done" or "... refused: why"
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* 0, or -1 with errno. */
static int closed(int fd) { return fd < 0 ? -1 : close(fd); }

/* ---- ways out ------------------------------------------------------------------------- */

static int write_file(const char *path) { return closed(open(path, O_WRONLY | O_CREAT, 0644)); }
static int raw_socket(const char *a) { (void)a; return closed(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }
static int packet_socket(const char *a) { (void)a; return closed(socket(AF_PACKET, SOCK_RAW, 0)); }
static int netlink_socket(const char *a) { (void)a; return closed(socket(AF_NETLINK, SOCK_RAW, 0)); }
static int user_namespace(const char *a) { (void)a; return unshare(CLONE_NEWUSER); }
static int mount_namespace(const char *a) { (void)a; return unshare(CLONE_NEWNS); }
static int net_namespace(const char *a) { (void)a; return unshare(CLONE_NEWUSER | CLONE_NEWNET); }
static int mount_tmpfs(const char *path) { return mount("tmpfs", path, "tmpfs", 0, NULL); }
static int remount(const char *path) { return mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL); }
static int become_root(const char *a) { (void)a; return (int)syscall(SYS_setuid, 0); }
static int join_root_group(const char *a) { (void)a; return (int)syscall(SYS_setresgid, 0, 0, 0); }
static int set_time(const char *a)
{
	(void)a;
	return clock_settime(CLOCK_REALTIME, &(struct timespec){ 1, 0 });
}

static int set_host_name(const char *a) { (void)a; return sethostname("x", 1); }
static int priority(const char *a) { (void)a; return setpriority(PRIO_PROCESS, 0, -10); }

static int realtime(const char *a)
{
	(void)a;
	return sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ 1 });
}

static int load_module(const char *a) { (void)a; return (int)syscall(SYS_init_module, "", 0, ""); }
static int keyring(const char *a) { (void)a; return (int)syscall(SYS_add_key, "user", "x", "y", 1, -3); }

static int bpf_map(const char *a)
{
	union bpf_attr b = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4,
			     .max_entries = 1 };

	(void)a;
	return (int)syscall(SYS_bpf, BPF_MAP_CREATE, &b, sizeof b);
}

static int by_handle(const char *a)
{
	(void)a;
	return (int)syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0);
}

static int change_personality(const char *a)
{
	(void)a;
	return personality(PER_LINUX | READ_IMPLIES_EXEC) < 0 ? -1 : 0;
}

static int make_setuid(const char *path) { return closed(open(path, O_WRONLY | O_CREAT, 04755)); }
static int change_root(const char *path) { return chroot(path); }
static int kernel_log(const char *a) { (void)a; return (int)syscall(SYS_syslog, 2, NULL, 0); }

static int trace(const char *pid)
{
	return (int)ptrace(PTRACE_ATTACH, atoi(pid), NULL, NULL);
}

static int signal_other(const char *pid) { return kill(atoi(pid), SIGTERM); }

static int writable_code(const char *a)
{
	(void)a;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	       MAP_FAILED ? -1 : 0;
}

static int code_later(const char *a)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)a;
	return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

/* A program of one's own: copy this one there, run it. */
static int run_copy(const char *path)
{
	int in = open("/proc/self/exe", O_RDONLY), out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
	int status = 0;
	char bytes[65536];

	for (ssize_t n; out >= 0 && (n = read(in, bytes, sizeof bytes)) > 0;)
		if (write(out, bytes, (size_t)n) != n)
			return -1;
	if (in < 0 || out < 0 || close(out) < 0)
		_exit(ESRCH);           /* nothing could be tried */
	pid_t child = fork();
	if (child == 0) {
		execl(path, path, (char *)NULL);
		_exit(errno);
	}
	if (waitpid(child, &status, 0) < 0)
		return -1;
	errno = WEXITSTATUS(status);
	return status ? -1 : 0;
}

/* More than MemoryMax=100M: by a child, which is killed. */
static int much_memory(const char *a)
{
	int status = 0;
	pid_t child = fork();

	(void)a;
	if (child == 0) {
		for (int mb = 0; mb < 600; mb++)
			memset(malloc(1 << 20), 1, 1 << 20);
		_exit(0);
	}
	waitpid(child, &status, 0);
	errno = ENOMEM;
	return status ? -1 : 0;
}

static int many_processes(const char *count)
{
	int n = 0, wanted = atoi(count);
	pid_t child = 1;

	setpgid(0, 0);                  /* whom the signal is for */
	for (; n < wanted && (child = fork()) > 0; n++)
		;
	if (child == 0) {
		pause();
		_exit(0);
	}
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	for (int i = 0; i < n; i++)
		wait(NULL);
	errno = EAGAIN;
	return n < wanted ? -1 : 0;
}

/* ---- what must work ---------------------------------------------------------------------- */

static int read_file(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, &byte, 1);

	if (fd >= 0)
		close(fd);
	if (n == 0)
		errno = ENODATA;
	return n == 1 ? 0 : -1;
}

static int list(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	while (d && readdir(d))
		n++;
	errno = d ? ENODATA : errno;
	return n > 2 ? 0 : -1;
}

/* A process of somebody else is not to be seen. */
static int see_process(const char *pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%s/status", pid);
	return access(path, F_OK);
}

static int tcp(const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return connect(fd, (struct sockaddr *)&to, sizeof to);
}

static int unix_socket(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	return connect(fd, (struct sockaddr *)&to, sizeof to);
}

static void *look_up(void *name)
{
	struct addrinfo *found = NULL;
	void *good = getaddrinfo(name, "80", NULL, &found) == 0 ? name : NULL;

	freeaddrinfo(found);
	return good;
}

static int resolve_in_thread(const char *name)
{
	pthread_t t;
	void *good = NULL;

	if (pthread_create(&t, NULL, look_up, (void *)name) || pthread_join(t, &good))
		return -1;
	errno = ENOENT;
	return good ? 0 : -1;
}

static int watch(const char *path)
{
	return inotify_add_watch(inotify_init1(IN_CLOEXEC), path, IN_MODIFY) < 0 ? -1 : 0;
}

static int notify(const char *state)
{
	int r = sd_notify(0, state);

	errno = r == 0 ? ENOENT : -r;
	return r > 0 ? 0 : -1;
}

static int shell(const char *command) { return system(command) == 0 ? 0 : -1; }

static const struct attempt { const char *name; int (*make)(const char *argument); } attempts[] = {
	{ "write", write_file }, { "raw_socket", raw_socket }, { "packet_socket", packet_socket },
	{ "netlink_socket", netlink_socket }, { "user_namespace", user_namespace },
	{ "mount_namespace", mount_namespace }, { "net_namespace", net_namespace }, { "mount", mount_tmpfs },
	{ "remount", remount }, { "setuid", become_root }, { "setgid", join_root_group },
	{ "set_time", set_time }, { "set_host_name", set_host_name }, { "priority", priority },
	{ "realtime", realtime }, { "load_module", load_module }, { "keyring", keyring }, { "bpf", bpf_map },
	{ "open_by_handle", by_handle }, { "personality", change_personality },
	{ "make_setuid", make_setuid }, { "chroot", change_root }, { "kernel_log", kernel_log },
	{ "ptrace", trace }, { "kill", signal_other }, { "writable_code", writable_code },
	{ "code_later", code_later }, { "run_copy", run_copy }, { "memory", much_memory },
	{ "processes", many_processes }, { "read", read_file }, { "list", list },
	{ "see_process", see_process }, { "tcp", tcp }, { "unix", unix_socket },
	{ "resolve", resolve_in_thread }, { "watch", watch }, { "notify", notify }, { "shell", shell },
};

/* A process of its own, so that nothing is left of a success; systemd listens to the first one only. */
static int apart(const struct attempt *t, const char *argument)
{
	int status = 0;
	pid_t child = t->make == notify ? 0 : fork();

	if (child == 0) {
		int r = t->make(argument);

		if (t->make == notify)
			return r;
		_exit(r == 0 ? 0 : errno ? errno : 255);
	}
	waitpid(child, &status, 0);
	errno = WEXITSTATUS(status);
	return status ? -1 : 0;
}

static void make(char *what)
{
	size_t n = strcspn(what, "=");

	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
		if (strlen(attempts[i].name) == n && strncmp(attempts[i].name, what, n) == 0) {
			if (apart(&attempts[i], what[n] ? what + n + 1 : what + n) == 0)
				printf("%s done\n", what);
			else
				printf("%s refused: %s\n", what, strerror(errno));
			fflush(stdout);
			return;
		}
	printf("%s unknown\n", what);
}

int main(int argc, char **argv)
{
	sd_notify(0, "READY=1");
	for (int i = 1; i < argc; i++)
		make(argv[i]);
	puts("end");
	return 0;
}
