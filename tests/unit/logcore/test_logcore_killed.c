/* logcore, buffered lines of a process that ends badly: each gets into the log, once. */
#include "logcore_numbered.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

/* ---- death in the middle of a write(2) ------------------------------------------------- */

enum when { NEVER, BEFORE_WRITE, AFTER_A_PART, AFTER_WRITE };

static enum when die;
static size_t part;                     /* bytes */

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
	if (die == AFTER_A_PART)
		(void)!__real_write(fd, bytes, part < n ? part : n);
	else if (die == AFTER_WRITE)
		(void)!__real_write(fd, bytes, n);
	if (die != NEVER)
		kill(getpid(), SIGKILL);
	return __real_write(fd, bytes, n);
}

enum { LINES = 200 };

static void write_and_die(void *arg)
{
	struct logcore *log = open_mode(LOGCORE_BUFFERED);

	log_numbers(log, 0, 0, LINES);
	die = (enum when)(intptr_t)arg;
	logcore_flush(log);
}

static void die_in_write(enum when when, size_t bytes)
{
	part = bytes;
	assert_int_equal(in_child(write_and_die, (void *)when), SIGKILL);
	assert_int_equal(held_files(), 1);
}

static void assert_recovered(void)
{
	open_and_close();
	assert_log_has(0, LINES);
	assert_int_equal(held_files(), 0);
	open_and_close();
	assert_log_has(0, LINES);
}

static void killed_before_the_write(void **state)
{
	(void)state;
	die_in_write(BEFORE_WRITE, 0);
	assert_recovered();
}

static void killed_after_the_write(void **state)
{
	(void)state;
	die_in_write(AFTER_WRITE, 0);
	assert_recovered();
}

static void killed_at_each_byte_of_the_write(void **state)
{
	static const size_t parts[] = { 1, 10, 31, 32, 33, 100, 151, 152, 153, 5000, 10000, 20000 };

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		die_in_write(AFTER_A_PART, parts[i]);
		assert_recovered();
		remove_log(state);
	}
}

static void killed_and_then_the_file_was_renamed(void **state)
{
	int next[WRITERS_MAX] = { 0 };
	char old[80];

	(void)state;
	snprintf(old, sizeof old, "%s.1", path);
	die_in_write(AFTER_WRITE, 0);
	rename(path, old);
	open_and_close();
	assert_int_equal(count_file(old, next), LINES);
	assert_int_equal(count_file(path, next), 0);
}

/* If others wrote behind a torn line, it is written again, whole. */
static void killed_in_a_line_and_then_others_wrote(void **state)
{
	int torn = 0, lines[2] = { 0 };
	char line[512];
	struct logcore *other = open_mode(LOGCORE_DIRECT);
	FILE *f;

	(void)state;
	die_in_write(AFTER_A_PART, 10010);
	log_numbers(other, 1, 0, 3);
	logcore_close(other);
	open_and_close();
	f = fopen(path, "r");
	while (fgets(line, sizeof line, f)) {
		struct json_object *o = parse_line(line, strlen(line));

		torn += o == NULL;
		if (o)
			lines[json_object_get_int(field(o, "who"))]++;
		json_object_put(o);
	}
	fclose(f);
	assert_int_equal(torn, 1);
	assert_int_equal(lines[0], LINES);
	assert_int_equal(lines[1], 2);          /* one is in the torn line */
}

/* ---- kill -9 at any instant ---------------------------------------------------------------- */

static struct { _Atomic int returned; int mode; int threads; } *run;

static void *log_until_killed(void *log)
{
	for (int i = 0;; i++) {
		log_number(log, 0, i);
		run->returned = i + 1;
		if (i % 64 == 0)
			sched_yield();
	}
	return NULL;
}

static void log_for_ever(void *arg)
{
	(void)arg;
	log_until_killed(logcore_open(
		&(struct logcore_options){ .path = path, .mode = run->mode, .block_when_full = true }, NULL,
		0));
}

static void kill_at_random(int mode, unsigned seed)
{
	const struct timespec wait = { 0, (long)(seed * 7919 % 20000) * 1000 };
	int next[WRITERS_MAX], status;
	pid_t child;

	run->returned = 0;
	run->mode = mode;
	child = fork();
	if (child == 0)
		log_for_ever(NULL);
	while (run->returned == 0)
		sched_yield();
	nanosleep(&wait, NULL);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	open_and_close();
	count_log(next);
	assert_in_range(next[0], run->returned, run->returned + 1);
	assert_int_equal(held_files(), 0);
}

static void kills(int mode, void **state)
{
	enum { ROUNDS = 25 };

	run = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned seed = 1; seed <= ROUNDS; seed++) {
		kill_at_random(mode, seed);
		remove_log(state);
	}
	munmap(run, 4096);
}

static void killed_when_buffered(void **state)
{
	kills(LOGCORE_BUFFERED, state);
}

static void killed_when_asynchronous(void **state)
{
	kills(LOGCORE_ASYNC, state);
}

/* ---- another program: this one, started anew ---------------------------------------------------- */

/* Without fork(), which would write the buffers first. Returns the wait status. */
static int run_self(const char *how)
{
	char self[4096] = "";
	char *const arguments[] = { self, (char *)(uintptr_t)how, path, NULL };
	posix_spawn_file_actions_t silent;
	int status = -1;
	pid_t child;

	posix_spawn_file_actions_init(&silent);
	posix_spawn_file_actions_addopen(&silent, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (readlink("/proc/self/exe", self, sizeof self - 1) > 0 &&
	    posix_spawn(&child, self, &silent, NULL, arguments, environ) == 0)
		waitpid(child, &status, 0);
	posix_spawn_file_actions_destroy(&silent);
	return status;
}

/* ---- others that live ------------------------------------------------------------------------ */

static void files_of_living_processes_are_left_alone(void **state)
{
	static struct logcore *first, *second;

	(void)state;
	first = open_mode(LOGCORE_BUFFERED);
	log_numbers(first, 0, 0, 5);
	second = open_mode(LOGCORE_BUFFERED);           /* of the same process */
	assert_int_equal(run_self("open"), 0);
	assert_int_equal(held_files(), 2);
	logcore_close(second);
	assert_int_equal(run_self("open"), 0);
	assert_int_equal(held_files(), 1);
	assert_log_has(0, 0);
	logcore_close(first);
	assert_log_has(0, 5);
}

static void open_and_close_held_file(void)
{
	DIR *dir = opendir(folder);

	for (struct dirent *e; (e = readdir(dir));)
		if (strstr(e->d_name, ".held"))
			close(openat(dirfd(dir), e->d_name, O_RDONLY));
	closedir(dir);
}

/* A process loses its POSIX lock when it closes any descriptor of the file. */
static void the_lock_survives_a_program_that_opens_its_ring_file(void **state)
{
	struct logcore *log = open_mode(LOGCORE_BUFFERED);

	(void)state;
	log_number(log, 0, 0);
	open_and_close_held_file();
	assert_int_equal(run_self("open"), 0);
	assert_int_equal(held_files(), 1);
	assert_log_has(0, 0);
	logcore_close(log);
	assert_log_has(0, 1);
}

static void leave_by_exit(void *arg)
{
	static struct logcore *logs[2];         /* never closed */

	logs[0] = open_mode(LOGCORE_BUFFERED);
	logs[1] = open_mode(LOGCORE_ASYNC);
	log_numbers(logs[0], 0, 0, 5);
	log_numbers(logs[1], 1, 0, 5);
	if (arg)
		exit(3);
}

static void exit_writes_the_buffers_and_underscore_exit_leaves_them_to_the_next(void **state)
{
	int next[WRITERS_MAX];

	(void)state;
	assert_int_equal(WEXITSTATUS(in_child(leave_by_exit, "exit")), 3);
	assert_int_equal(count_log(next), 10);
	assert_int_equal(held_files(), 0);
	unlink(path);
	assert_int_equal(in_child(leave_by_exit, NULL), 0);
	open_and_close();
	assert_int_equal(count_log(next), 10);
	assert_int_equal(held_files(), 0);
}

/* ---- files that are none ----------------------------------------------------------------------- */

static void make_held(const char *digits, const void *bytes, size_t n)
{
	char name[128];
	int fd;

	snprintf(name, sizeof name, "%s/.app.log.%s.held", folder, digits);
	fd = open(name, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

static void other_files_with_a_ring_files_name_are_left_alone(void **state)
{
	static char bytes[8 * 4096];
	uint64_t sizes[2] = { 4096, 4096 };
	char link[128], target[80];

	make_held("0000000000000000", "", 0);
	make_held("0000000000000001", "nonsense", 8);
	memset(bytes, 0xff, sizeof bytes);              /* rings that claim more bytes than they have */
	for (size_t i = 4096; i < sizeof bytes; i += 8192)
		memset(bytes + i + 64, 0, 8);
	memcpy(bytes, "logcore held 1\n", 16);
	memcpy(bytes + 16, sizes, sizeof sizes);
	make_held("0000000000000002", bytes, 4096 + 100);
	make_held("0000000000000004", bytes, sizeof bytes - 4096);
	sizes[1] = UINT64_MAX / 4096 * 4096;
	memcpy(bytes + 16, sizes, sizeof sizes);
	make_held("0000000000000003", bytes, sizeof bytes);
	make_held("000000000000000x", bytes, sizeof bytes);
	snprintf(link, sizeof link, "%s/.app.log.000000000000000a.held", folder);
	snprintf(target, sizeof target, "%s/target", folder);
	assert_int_equal(symlink(target, link), 0);
	open_and_close();
	assert_log_has(0, 0);
	/* A valid file without a ring is removed; the others are not touched. */
	assert_int_equal(held_files(), 6);
	remove_log(state);
}

/* ---- crashes: in another program, since the test library catches signals, too ------------------- */

static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS };

static void *volatile crash_here = (void *)8;

/* Call a forbidden system call in a sandbox; false if there is no seccomp. */
static bool call_what_is_forbidden(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog filter = { sizeof code / sizeof *code, code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		return false;
	syscall(SYS_getppid);
	return true;
}

/* Exits with 0 if a handler returned and the signal did not come again. */
static int crash(int mode, int signal)
{
	struct rlimit no_core = { 0, 0 };

	setrlimit(RLIMIT_CORE, &no_core);
	log_numbers(open_mode(mode), 0, 0, 20);
	if (signal == SIGSEGV)
		*(volatile int *)crash_here = 1;
	if (signal == SIGABRT)
		abort();
	if (signal != SIGSYS || !call_what_is_forbidden())
		raise(signal);
	return 0;
}

static int be_another(const char *how, const char *log_path)
{
	snprintf(path, sizeof path, "%s", log_path);
	if (strcmp(how, "open") == 0) {
		open_and_close();
		return 0;
	}
	return crash(how[0] - '0', how[1] - 'A');
}

static int run_crash(int mode, int signal)
{
	const char how[] = { (char)('0' + mode), (char)('A' + signal), '\0' };

	return run_self(how);
}

static void a_crash_writes_the_buffers_and_ends_as_without_them(void **state)
{
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		for (int mode = LOGCORE_BUFFERED; mode <= LOGCORE_ASYNC; mode++) {
			int status = run_crash(mode, signals[i]);

			assert_log_has(0, 20);
			/* A sanitizer's handler runs after the library's, and exits. */
			assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == signals[i]
				    : WEXITSTATUS(status) != 0);
			remove_log(state);
		}
}

int main(int argc, char **argv)
{
#define KILLED(t) cmocka_unit_test_teardown(t, remove_log)
	const struct CMUnitTest tests[] = {
		KILLED(killed_before_the_write),
		KILLED(killed_after_the_write),
		KILLED(killed_at_each_byte_of_the_write),
		KILLED(killed_and_then_the_file_was_renamed),
		KILLED(killed_in_a_line_and_then_others_wrote),
		KILLED(killed_when_buffered),
		KILLED(killed_when_asynchronous),
		KILLED(files_of_living_processes_are_left_alone),
		KILLED(the_lock_survives_a_program_that_opens_its_ring_file),
		KILLED(exit_writes_the_buffers_and_underscore_exit_leaves_them_to_the_next),
		KILLED(other_files_with_a_ring_files_name_are_left_alone),
		KILLED(a_crash_writes_the_buffers_and_ends_as_without_them),
	};

	if (argc == 3)
		return be_another(argv[1], argv[2]);
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
