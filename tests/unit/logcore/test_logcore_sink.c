/* logcore, writing: one call is one write(2), also when that fails. */
#include "logcore_files.h"

#include "allocations.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static struct capture cap;

/* ---- the system call and the allocator, under control ------------------------------ */

/* Results of the next calls of write(): -errno, or at most that many bytes; 0: all. */
static struct {
	ssize_t script[8];
	int n, next;
	int every;                      /* every n-th call fails; 0: none */
	_Atomic int calls;
} fault;

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
	ssize_t act = fault.next < fault.n ? fault.script[fault.next++] : 0;
	int call = ++fault.calls;

	if (fault.every && call % fault.every == 0)
		act = -ENOSPC;
	if (act < 0) {
		errno = (int)-act;
		return -1;
	}
	return __real_write(fd, bytes, act > 0 && (size_t)act < n ? (size_t)act : n);
}

#define FAULTS(...)                                                                                \
	do {                                                                                       \
		const ssize_t script_[] = { __VA_ARGS__ };                                         \
		memcpy(fault.script, script_, sizeof script_);                                     \
		fault.n = sizeof script_ / sizeof *script_;                                        \
		fault.next = 0;                                                                    \
		fault.calls = 0;                                                      \
	} while (0)

static int setup_group(void **state)
{
	count_allocations();
	return make_folder(state);
}

static int setup(void **state)
{
	(void)state;
	memset(&fault, 0, sizeof fault);
	capture_open(&cap, (struct logcore_options){ .name = "app", .ignore_environment = true });
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	capture_close(&cap);
	unlink(path);
	return 0;
}

/* ---- one call, one write, nothing allocated, errno kept ---------------------------- */

static void a_line_is_one_write(void **state)
{
	struct logcore *log = open_path(path);
	char *s = big('x', 50000);

	(void)state;
	fault.calls = 0;
	logcore_info(log, "x", logcore_kv("a", 1));
	logcore_info(log, "x", logcore_kv("a", s));
	assert_int_equal(fault.calls, 2);
	assert_int_equal(stats_of(log).lines, 2);
	free(s);
	logcore_close(log);
}

static void logging_allocates_nothing_and_keeps_errno(void **state)
{
	struct logcore *log = open_path("/dev/full"),
			      *child = logcore_child(cap.log, "c", logcore_kv("a", 1));
	char *s = big('x', 100000);
	size_t before = allocations;

	(void)state;
	errno = EDOM;
	for (int i = 0; i < 3; i++) {
		logcore_info(child, "x", logcore_kv("d", 0.1 + 0.2), logcore_kv("u", UINT64_MAX));
		logcore_info(child, s, logcore_kv("s", s));
		logcore_info(child, "x", logcore_kv_backtrace(), logcore_kv_source(),
			     logcore_kv_errno(EPIPE));
		logcore_info(child, "x", logcore_kv_json("j", "{\"token\":1}", 11),
			     logcore_kv("s", "password=x"));
		logcore_info(log, "x", logcore_kv("s", s));
	}
	assert_int_equal(allocations, before);
	assert_int_equal(errno, EDOM);
	free(s);
	logcore_close(child);
	assert_int_equal(allocations, before);
	child = logcore_child(log, "c");
	assert_true(allocations > before);      /* check the counter itself */
	logcore_close(child);
	logcore_close(log);
}

/* ---- when writing fails ------------------------------------------------------------ */

static void lost_lines_are_counted_and_reported(void **state)
{
	struct logcore *log = open_path(path);
	struct json_object *o;

	(void)state;
	FAULTS(-ENOSPC, -ENOSPC, -EIO);
	for (int i = 0; i < 3; i++)
		logcore_info(log, "lost");
	logcore_info(log, "back");
	/* a retry is one write, of the short line that reports the loss */
	assert_int_equal(fault.calls, 5);
	read_file();
	o = nth_line(0);
	assert_string_equal(text(member(o, "level")), "WARNING");
	assert_string_equal(text(member(o, "message")), "3 lines lost");
	assert_int_equal(json_object_get_int(field(o, "lost")), 3);
	assert_int_equal(json_object_get_int(field(o, "errno")), EIO);
	json_object_put(o);
	assert_nth_message(1, "back");
	assert_int_equal(stats_of(log).dropped, 3);
	assert_int_equal(stats_of(log).failed, 3);
	assert_int_equal(stats_of(log).lines, 2);
	assert_int_equal(stats_of(log).bytes, strlen(content));
	logcore_close(log);
}

static void a_full_disk_is_survived(void **state)
{
	struct logcore *log = open_path("/dev/full");

	(void)state;
	for (int i = 0; i < 10; i++)
		logcore_info(log, "x");
	assert_int_equal(stats_of(log).dropped, 10);
	assert_int_equal(stats_of(log).failed, 10);
	assert_int_equal(stats_of(log).lines, 0);
	logcore_close(log);
}

static void closing_reports_lost_lines(void **state)
{
	struct logcore *log = open_path(path);

	(void)state;
	FAULTS(-ENOSPC);
	logcore_info(log, "lost");
	logcore_close(log);
	read_file();
	assert_nth_message(0, "1 line lost");
}

static void interrupted_and_short_writes_are_completed(void **state)
{
	struct logcore *log = open_path(path);

	(void)state;
	FAULTS(-EINTR, 10, -EINTR, 20);
	logcore_info(log, "whole");
	read_file();
	assert_nth_message(0, "whole");
	assert_int_equal(fault.calls, 5);
	assert_int_equal(stats_of(log).failed, 0);
	logcore_close(log);
}

static void a_torn_line_ends_before_the_next_one(void **state)
{
	struct logcore *log = open_path(path);

	(void)state;
	FAULTS(30, -ENOSPC, -ENOSPC);
	logcore_info(log, "torn");
	logcore_info(log, "lost");
	logcore_info(log, "back");
	read_file();
	assert_int_equal(strcspn(content, "\n"), 30);
	assert_nth_message(1, "2 lines lost");
	assert_nth_message(2, "back");
	logcore_close(log);
}

/* The child has a copy of the parent's memory, but must not report the parent's loss. */
static void after_fork_only_one_process_reports_a_loss(void **state)
{
	struct logcore *log = open_path(path);
	int status;
	pid_t pid;

	(void)state;
	FAULTS(-ENOSPC);
	logcore_info(log, "lost");
	pid = fork();
	if (pid == 0) {
		logcore_info(log, "child");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	logcore_info(log, "parent");
	read_file();
	assert_nth_message(0, "child");
	assert_nth_message(1, "1 line lost");
	assert_nth_message(2, "parent");
	logcore_close(log);
}

/* A pipe and a socket without a reader: no SIGPIPE, neither now nor pending. */
static void a_pipe_without_a_reader_does_not_end_the_program(void **state)
{
	int ends[2][2];
	sigset_t pending;

	(void)state;
	assert_int_equal(pipe(ends[0]), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[1]), 0);
	signal(SIGPIPE, SIG_DFL);
	for (int i = 0; i < 2; i++) {
		struct logcore *log = logcore_open(&(struct logcore_options){ .fd = ends[i][1] }, NULL, 0);

		logcore_info(log, "read");
		close(ends[i][0]);
		logcore_info(log, "lost");
		assert_int_equal(stats_of(log).lines, 1);
		assert_int_equal(stats_of(log).dropped, 1);
		logcore_close(log);
		close(ends[i][1]);
	}
	sigpending(&pending);
	assert_false(sigismember(&pending, SIGPIPE));
}

enum { THREADS = 4, LINES = 2000 };

static void *write_lines(void *log)
{
	for (int i = 0; i < LINES; i++)
		logcore_info(log, "line", logcore_kv("i", i));
	return NULL;
}

/* With many threads: the written lines and the reported losses add up. */
static void every_line_of_every_thread_is_written_or_reported(void **state)
{
	struct logcore *log = open_path(path);
	pthread_t threads[THREADS];
	int written = 0, lost = 0;
	char line[512];
	FILE *f;

	(void)state;
	fault.every = 3;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_lines, log);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fault.every = 0;
	logcore_info(log, "line");              /* reports the last losses */
	f = fopen(path, "r");
	while (fgets(line, sizeof line, f)) {
		struct json_object *o = parse_line(line, strlen(line));

		assert_non_null(o);
		written += !field(o, "lost");
		lost += json_object_get_int(field(o, "lost"));
		json_object_put(o);
	}
	fclose(f);
	assert_int_equal(written + lost, THREADS * LINES + 1);
	assert_int_equal(lost, stats_of(log).dropped);
	assert_in_range(lost, LINES, THREADS * LINES);
	logcore_close(log);
}

int main(void)
{
#define SINK(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		SINK(a_line_is_one_write),
		SINK(logging_allocates_nothing_and_keeps_errno),
		SINK(lost_lines_are_counted_and_reported),
		SINK(a_full_disk_is_survived),
		SINK(closing_reports_lost_lines),
		SINK(interrupted_and_short_writes_are_completed),
		SINK(a_torn_line_ends_before_the_next_one),
		SINK(after_fork_only_one_process_reports_a_loss),
		SINK(every_line_of_every_thread_is_written_or_reported),
		SINK(a_pipe_without_a_reader_does_not_end_the_program),
	};

	return cmocka_run_group_tests(tests, setup_group, remove_folder);
}
