/* logcore, buffered lines: when they are written, by which thread, and in which order. */
#include "logcore_numbered.h"

#include "allocations.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

/* ---- the clock and the system calls, under control ---------------------------------- */

static struct timespec began;           /* the wall clock stands still in a test */
static _Atomic int64_t later_s;         /* and advances by this */
static _Atomic int write_error;         /* of each write(2), if not 0 */
static _Atomic int no_space;            /* for a ring */

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	if (id != CLOCK_REALTIME)
		return __real_clock_gettime(id, t);
	*t = began;
	t->tv_sec += later_s;
	return 0;
}

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
	if (write_error) {
		errno = write_error;
		return -1;
	}
	return __real_write(fd, bytes, n);
}

int __real_posix_fallocate(int fd, off_t offset, off_t len);
int __wrap_posix_fallocate(int fd, off_t offset, off_t len);
int __wrap_posix_fallocate(int fd, off_t offset, off_t len)
{
	return no_space ? ENOSPC : __real_posix_fallocate(fd, offset, len);
}

static int setup_group(void **state)
{
	count_allocations();
	return make_folder(state);
}

static int setup(void **state)
{
	(void)state;
	__real_clock_gettime(CLOCK_REALTIME, &began);
	later_s = 0;
	write_error = 0;
	no_space = 0;
	return 0;
}

static int lines_now(void)
{
	int next[WRITERS_MAX];

	return count_log(next);
}

/* ---- buffered ------------------------------------------------------------------------- */

static void buffered_lines_wait_for_a_flush(void **state)
{
	struct logcore *log = open_mode(LOGCORE_BUFFERED);

	(void)state;
	log_numbers(log, 0, 0, 10);
	assert_int_equal(lines_now(), 0);
	assert_int_equal(logcore_flush(log), 0);
	assert_log_has(0, 10);
	log_numbers(log, 0, 10, 12);
	logcore_close(log);
	assert_log_has(0, 12);
}

static void an_error_line_writes_the_buffer_with_it(void **state)
{
	struct logcore *log = open_mode(LOGCORE_BUFFERED);

	(void)state;
	log_numbers(log, 0, 0, 3);
	logcore_warning(log, "line", logcore_kv("who", 0), logcore_kv("i", 3));
	assert_int_equal(lines_now(), 0);
	logcore_error(log, "line", logcore_kv("who", 0), logcore_kv("i", 4));
	assert_log_has(0, 5);
	logcore_close(log);
}

static void a_full_buffer_is_written_in_whole_lines(void **state)
{
	struct logcore *log = open_mode(LOGCORE_BUFFERED);
	int n;

	(void)state;
	log_numbers(log, 0, 0, 2000);
	n = lines_now();
	assert_in_range(n, 2000 - 65536 / 100, 1999);
	logcore_close(log);
	assert_log_has(0, 2000);
}

static struct logcore *shared;

static void *log_one_and_wait(void *arg)
{
	pthread_barrier_t *barrier = arg;

	log_number(shared, 1, 0);
	pthread_barrier_wait(barrier);
	pthread_barrier_wait(barrier);
	return NULL;
}

static void after_a_second_any_thread_writes_all_buffers(void **state)
{
	pthread_barrier_t barrier;
	struct logcore *log = shared = open_mode(LOGCORE_BUFFERED);
	pthread_t thread;
	int next[WRITERS_MAX];

	(void)state;
	pthread_barrier_init(&barrier, NULL, 2);
	log_number(log, 0, 0);
	pthread_create(&thread, NULL, log_one_and_wait, &barrier);
	pthread_barrier_wait(&barrier);
	assert_int_equal(logcore_flush(log), 0);
	log_number(log, 0, 1);
	assert_int_equal(lines_now(), 2);
	later_s = 2;
	log_number(log, 0, 2);
	assert_int_equal(count_log(next), 4);
	later_s = -3600;                /* also after the clock was set back */
	log_number(log, 0, 3);
	assert_int_equal(count_log(next), 5);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&barrier);
	logcore_close(log);
}

static void *log_and_look(void *log)
{
	size_t before = allocations;

	log_numbers(log, 1, 0, 2000);
	logcore_flush(log);
	assert_int_equal(allocations, before);
	return NULL;
}

/* Not even by a new thread, which needs a ring. */
static void nothing_is_allocated_after_open(void **state)
{
	struct logcore *log = open_mode(LOGCORE_BUFFERED);
	pthread_t thread;

	(void)state;
	assert_true(allocations > 0);
	log_numbers(log, 0, 0, 1);
	pthread_create(&thread, NULL, log_and_look, log);
	pthread_join(thread, NULL);
	logcore_close(log);
}

static void *log_ten(void *log)
{
	static int thread;
	int who = thread++;

	log_numbers(log, who, 0, 10);
	return NULL;
}

/* More threads than rings. */
static void a_thread_that_ends_leaves_its_buffer_to_the_next(void **state)
{
	struct logcore *log = open_mode(LOGCORE_BUFFERED);
	int next[WRITERS_MAX];

	(void)state;
	for (int i = 0; i < WRITERS_MAX; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, log_ten, log);
		pthread_join(thread, NULL);
		assert_int_equal(count_log(next), 10 * (i + 1));
	}
	assert_int_equal(stats_of(log).lines, 10 * WRITERS_MAX);
	logcore_close(log);
}

static void the_longest_line_fits_and_a_descriptor_needs_no_path(void **state)
{
	static char text[LOGCORE_LINE_MAX];
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
	struct logcore *log = logcore_open(&(struct logcore_options){ .fd = fd, .mode = LOGCORE_BUFFERED },
					   NULL, 0);
	struct json_object *o;

	(void)state;
	memset(text, 'x', sizeof text);
	assert_int_equal(held_files(), 0);
	for (int i = 0; i < 3; i++)
		logcore_info(log, "long", logcore_kv_strn("text", text, sizeof text - 200));
	assert_int_equal(stats_of(log).truncated, 0);
	logcore_close(log);
	assert_true(lseek(fd, 0, SEEK_END) > 3 * (off_t)(sizeof text - 200));
	assert_true(pread(fd, text, sizeof text, 0) == sizeof text);
	o = parse_line(text, strcspn(text, "\n") + 1);
	assert_non_null(o);
	json_object_put(o);
	close(fd);
}

/* ---- a disk that is full ---------------------------------------------------------------- */

static void unwritten_lines_stay_and_lines_that_do_not_fit_are_counted(void **state)
{
	struct logcore *log = open_mode(LOGCORE_BUFFERED);
	struct logcore_counters c;
	FILE *f;
	char line[512];
	int i = 0, lost = -1;

	(void)state;
	write_error = ENOSPC;
	while (stats_of(log).dropped < 5)
		log_number(log, 0, i++);
	assert_int_equal(logcore_flush(log), -EIO);
	write_error = 0;
	assert_int_equal(logcore_flush(log), 0);
	c = stats_of(log);
	assert_int_equal(c.dropped, 5);
	assert_int_equal(c.lines, i - 5 + 1);
	logcore_close(log);
	f = fopen(path, "r");
	assert_non_null(fgets(line, sizeof line, f));
	assert_int_equal(sscanf(strstr(line, "\"lost\":"), "\"lost\":%d,\"errno\":28", &lost), 1);
	assert_int_equal(lost, 5);
	for (int n = 0; n < i - 5; n++) {
		assert_non_null(fgets(line, sizeof line, f));
		assert_non_null(strstr(line, "\"who\":0"));
	}
	assert_null(fgets(line, sizeof line, f));
	fclose(f);
}

static void without_space_for_a_buffer_lines_are_written_at_once(void **state)
{
	struct logcore *log = open_mode(LOGCORE_BUFFERED);

	(void)state;
	no_space = 1;
	log_numbers(log, 0, 0, 3);
	assert_log_has(0, 3);
	no_space = 0;
	log_numbers(log, 0, 3, 5);
	assert_log_has(0, 3);
	logcore_close(log);
	assert_log_has(0, 5);
}

/* ---- asynchronous ------------------------------------------------------------------------ */

static void asynchronous_lines_are_written_without_a_flush(void **state)
{
	struct logcore *log = open_mode(LOGCORE_ASYNC);
	struct stat st = { 0 };
	time_t hung = time(NULL) + 300;

	(void)state;
	log_number(log, 0, 0);
	while (stat(path, &st) == 0 && st.st_size == 0 && time(NULL) < hung)
		sched_yield();
	assert_log_has(0, 1);
	logcore_close(log);
	assert_log_has(0, 1);
}

enum { FLOOD = 5000 };

/* Reads when the parent allows it; exits with 0 if each line arrived or was reported as lost. */
static int read_flood(FILE *f, int start)
{
	int kept = 0, told = 0, lost = 0, n;
	char line[512];

	if (read(start, line, 1) != 1)
		return 3;
	while (kept + lost < FLOOD && fgets(line, sizeof line, f)) {
		const char *message = strstr(line, "\"message\":\"");

		if (message && sscanf(message, "\"message\":\"%d line", &n) == 1) {
			told++;
			lost += n;
		} else {
			kept++;
		}
	}
	return kept + lost == FLOOD && told > 0 ? 0 : 2;
}

/* A pipe that nobody reads holds 64 KiB, the ring as much again. */
static void a_full_ring_drops_lines_and_counts_them(void **state)
{
	int lines[2], start[2], status;
	struct logcore *log;

	(void)state;
	assert_return_code(pipe(lines), errno);
	assert_return_code(pipe(start), errno);
	if (fork() == 0)
		_exit(read_flood(fdopen(lines[0], "r"), start[0]));
	log = logcore_open(&(struct logcore_options){ .fd = lines[1], .mode = LOGCORE_ASYNC,
						      .buffer_size = 65536 }, NULL, 0);
	log_numbers(log, 0, 0, FLOOD);
	assert_true(stats_of(log).dropped > 0);
	assert_int_equal(__real_write(start[1], "x", 1), 1);
	logcore_flush(log);
	logcore_close(log);
	assert_true(wait(&status) > 0);
	assert_int_equal(status, 0);
	for (int i = 0; i < 2; i++) {
		close(lines[i]);
		close(start[i]);
	}
}

static void a_full_ring_waits_if_the_option_says_so(void **state)
{
	struct logcore *log = logcore_open(
		&(struct logcore_options){ .path = path, .mode = LOGCORE_ASYNC, .block_when_full = true,
					   .buffer_size = 65536 },
		NULL, 0);

	(void)state;
	log_numbers(log, 0, 0, 50000);
	assert_int_equal(stats_of(log).dropped, 0);
	logcore_close(log);
	assert_log_has(0, 50000);
}

/* ---- threads, forks, signals --------------------------------------------------------------- */

enum { THREADS = 4, LINES = 5000 };

static void *write_lines(void *arg)
{
	log_numbers(shared, (int)(intptr_t)arg, 0, LINES);
	return NULL;
}

static void run_threads(int first)
{
	pthread_t threads[THREADS];

	for (intptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_lines, (void *)(i + first));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void threads_keep_their_order(int mode)
{
	int next[WRITERS_MAX];

	shared = logcore_open(&(struct logcore_options){ .path = path, .mode = mode,
							 .block_when_full = true }, NULL, 0);
	run_threads(0);
	assert_int_equal(stats_of(shared).lines, THREADS * LINES);
	logcore_close(shared);
	assert_int_equal(count_log(next), THREADS * LINES);
}

static void threads_keep_their_order_buffered(void **state)
{
	(void)state;
	threads_keep_their_order(LOGCORE_BUFFERED);
}

static void threads_keep_their_order_asynchronous(void **state)
{
	(void)state;
	threads_keep_their_order(LOGCORE_ASYNC);
}

static void child_logs_on(void *arg)
{
	log_numbers(shared, (int)(intptr_t)arg, 0, 100);
	logcore_close(shared);
}

static void child_that_does_not_log(void *arg)
{
	(void)arg;
	logcore_close(shared);
}

/* Without the handlers of pthread_atfork(). */
static int in_bare_child(void (*run)(void *), void *arg)
{
	return run_in(_Fork(), run, arg);
}

static void parent_and_child_log_on(int mode)
{
	int next[WRITERS_MAX];

	shared = logcore_open(&(struct logcore_options){ .path = path, .mode = mode,
							 .block_when_full = true }, NULL, 0);
	log_numbers(shared, 0, 0, 10);
	assert_int_equal(in_child(child_logs_on, (void *)1), 0);
	log_numbers(shared, 0, 10, 20);
	assert_int_equal(in_child(child_that_does_not_log, NULL), 0);
	log_numbers(shared, 0, 20, 30);
	assert_int_equal(in_bare_child(child_logs_on, (void *)2), 0);
	log_numbers(shared, 0, 30, 40);
	logcore_close(shared);
	assert_int_equal(count_log(next), 240);
	assert_int_equal(next[0], 40);
	assert_int_equal(next[1], 100);
	assert_int_equal(next[2], 100);
}

static void parent_and_child_both_log_buffered(void **state)
{
	(void)state;
	parent_and_child_log_on(LOGCORE_BUFFERED);
}

/* ThreadSanitizer does not support threads that a forked child makes. */
static void parent_and_child_both_log_asynchronous(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	skip();
#endif
	parent_and_child_log_on(LOGCORE_ASYNC);
}

/* The number of the ring file's descriptor may belong to another file by then. */
static void child_that_closed_everything(void *arg)
{
	enum { OTHERS = 20 };
	int others[OTHERS];

	closefrom(3);
	for (int i = 0; i < OTHERS; i++)
		others[i] = open("/dev/null", O_RDONLY);
	child_logs_on(arg);
	for (int i = 0; i < OTHERS; i++)
		if (fcntl(others[i], F_GETFD) < 0)
			_exit(1);
}

static void log_to_standard_output(void *arg)
{
	(void)arg;
	dup2(open(path, O_WRONLY | O_CREAT | O_APPEND, 0600), 1);
	shared = logcore_open(&(struct logcore_options){ .fd = 1, .mode = LOGCORE_BUFFERED }, NULL, 0);
	log_number(shared, 0, 0);
	if (in_bare_child(child_that_closed_everything, (void *)1) != 0 ||
	    in_child(child_that_closed_everything, (void *)2) != 0)
		_exit(1);
	logcore_close(shared);
}

static void descriptors_of_others_are_not_closed(void **state)
{
	int next[WRITERS_MAX];

	(void)state;
	assert_int_equal(in_child(log_to_standard_output, NULL), 0);
	assert_int_equal(count_log(next), 201);
}

static void *log_for_ever(void *log)
{
	for (int i = 0;; i++) {
		log_number(log, 0, i);
		pthread_testcancel();
	}
	return NULL;
}

static void *read_all(void *fd)
{
	char bytes[4096];

	while (read(*(int *)fd, bytes, sizeof bytes) > 0)
		;
	return NULL;
}

static void a_cancelled_thread_leaves_nothing_locked(void **state)
{
	int ends[2], waiting = 0;
	pthread_t writer, reader;
	struct logcore *log;

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	/* it believes that the frames of a cancelled thread are still in use */
	skip();
#endif
	assert_return_code(pipe(ends), errno);
	log = logcore_open(&(struct logcore_options){ .fd = ends[1], .mode = LOGCORE_BUFFERED }, NULL, 0);
	pthread_create(&writer, NULL, log_for_ever, log);
	while (ioctl(ends[0], FIONREAD, &waiting) == 0 && waiting < 60000)      /* then it is in write(2) */
		sched_yield();
	pthread_cancel(writer);
	pthread_create(&reader, NULL, read_all, &ends[0]);
	pthread_join(writer, NULL);
	logcore_close(log);
	close(ends[1]);
	pthread_join(reader, NULL);
	close(ends[0]);
}

static volatile int in_handler;

static void log_from_handler(int signal)
{
	(void)signal;
	log_number(shared, 1, in_handler++);
}

/* The handler's lines may precede older lines of its thread, but none is lost or torn. */
static void a_signal_handler_may_log(void **state)
{
	struct itimerval each = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	int i = 0, lines[2] = { 0 }, who;
	char line[512];
	FILE *f;

	(void)state;
	shared = open_mode(LOGCORE_BUFFERED);
	in_handler = 0;
	signal(SIGALRM, log_from_handler);
	setitimer(ITIMER_REAL, &each, NULL);
	while (in_handler < 300)
		log_number(shared, 0, i++);
	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_IGN);
	logcore_close(shared);
	f = fopen(path, "r");
	while (fgets(line, sizeof line, f)) {
		struct json_object *o = parse_line(line, strlen(line));

		assert_non_null(o);
		who = json_object_get_int(field(o, "who"));
		assert_in_range(who, 0, 1);
		lines[who]++;
		json_object_put(o);
	}
	fclose(f);
	assert_int_equal(lines[0], i);
	assert_int_equal(lines[1], in_handler);
}

static void impossible_options_are_refused(void **state)
{
	static const struct { struct logcore_options o; const char *error; } rows[] = {
		{ { .mode = 3 },
		  "mode must be LOGCORE_DIRECT, LOGCORE_BUFFERED or LOGCORE_ASYNC: Invalid argument" },
		{ { .mode = -1 },
		  "mode must be LOGCORE_DIRECT, LOGCORE_BUFFERED or LOGCORE_ASYNC: Invalid argument" },
		{ { .buffer_size = 65535 }, "buffer_size must be 65536 bytes to 64 MiB: Invalid argument" },
		{ { .buffer_size = (64 << 20) + 1 },
		  "buffer_size must be 65536 bytes to 64 MiB: Invalid argument" },
		{ { .rotate_bytes = 1 << 20 },
		  "rotate_bytes, rotate_seconds and no_follow need a path: Invalid argument" },
		{ { .rotate_seconds = 1 },
		  "rotate_bytes, rotate_seconds and no_follow need a path: Invalid argument" },
		{ { .no_follow = true },
		  "rotate_bytes, rotate_seconds and no_follow need a path: Invalid argument" },
		{ { .path = "x", .rotate_bytes = 65535 },
		  "rotate_bytes must be 65536 at least: Invalid argument" },
		{ { .path = "x", .rotate_keep = 10001 },
		  "rotate_keep must be 10000 at most: Invalid argument" },
	};
	char error[120];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_null(logcore_open(&rows[i].o, error, sizeof error));
		assert_string_equal(error, rows[i].error);
	}
}

static void the_limits_themselves_are_taken(void **state)
{
	const struct logcore_options rows[] = {
		{ .path = path, .mode = LOGCORE_ASYNC, .buffer_size = 65536 },
		{ .path = path, .mode = LOGCORE_BUFFERED, .buffer_size = 64 << 20 },
		{ .path = path, .rotate_bytes = 65536, .rotate_keep = 10000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct logcore *log = logcore_open(&rows[i], NULL, 0);

		assert_non_null(log);
		logcore_close(log);
	}
}

int main(void)
{
#define MODES(t) cmocka_unit_test_setup_teardown(t, setup, remove_log)
	const struct CMUnitTest tests[] = {
		MODES(buffered_lines_wait_for_a_flush),
		MODES(an_error_line_writes_the_buffer_with_it),
		MODES(a_full_buffer_is_written_in_whole_lines),
		MODES(after_a_second_any_thread_writes_all_buffers),
		MODES(nothing_is_allocated_after_open),
		MODES(a_thread_that_ends_leaves_its_buffer_to_the_next),
		MODES(the_longest_line_fits_and_a_descriptor_needs_no_path),
		MODES(unwritten_lines_stay_and_lines_that_do_not_fit_are_counted),
		MODES(without_space_for_a_buffer_lines_are_written_at_once),
		MODES(asynchronous_lines_are_written_without_a_flush),
		MODES(a_full_ring_drops_lines_and_counts_them),
		MODES(a_full_ring_waits_if_the_option_says_so),
		MODES(threads_keep_their_order_buffered),
		MODES(threads_keep_their_order_asynchronous),
		MODES(parent_and_child_both_log_buffered),
		MODES(parent_and_child_both_log_asynchronous),
		MODES(descriptors_of_others_are_not_closed),
		MODES(a_cancelled_thread_leaves_nothing_locked),
		MODES(a_signal_handler_may_log),
		MODES(impossible_options_are_refused),
		MODES(the_limits_themselves_are_taken),
	};

	return cmocka_run_group_tests(tests, setup_group, remove_folder);
}
