/* logcore, surprises in a program: signal handlers, ends of threads and processes, limits, a
 * change of folder, other processes that write to the files. */
#include "logcore_numbered.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

enum { HUNG_S = 300 };                   /* a child that takes so long is in a deadlock */

static struct logcore *shared;

static void assert_ends_well(void (*run)(void *), void *arg)
{
	assert_int_equal(in_child(run, arg), 0);
}

/* ---- handlers --------------------------------------------------------------------------- */

static volatile int handled;

static void log_error(int signal)
{
	(void)signal;
	logcore_error(shared, "line", logcore_kv("who", 1), logcore_kv("i", handled++));
}

static void flush_under_signals(void *arg)
{
	const struct itimerval often = { { 0, 100 }, { 0, 100 } };

	(void)arg;
	alarm(HUNG_S);
	shared = open_mode(LOGCORE_BUFFERED);
	signal(SIGPROF, log_error);
	setitimer(ITIMER_PROF, &often, NULL);
	for (int i = 0; handled < 200; i++) {
		log_number(shared, 0, i);
		logcore_flush(shared);
	}
	signal(SIGPROF, SIG_IGN);
	logcore_close(shared);
}

/* The handler writes an ERROR, which needs the lock that its own thread holds. */
static void a_handler_that_logs_during_a_flush_does_not_deadlock(void **state)
{
	(void)state;
	assert_ends_well(flush_under_signals, NULL);
}

/* ---- threads ---------------------------------------------------------------------------- */

enum { LATE_THREADS = 40, LATE_LINES = 200 };

static pthread_key_t late_key;

static void log_late(void *who)
{
	log_numbers(shared, (int)(intptr_t)who, LATE_LINES, 2 * LATE_LINES);
}

static void *log_and_end(void *who)
{
	pthread_setspecific(late_key, who);
	log_numbers(shared, (int)(intptr_t)who, 0, LATE_LINES);
	return NULL;
}

/* Four at a time, so that another thread takes over a freed ring. */
static void a_thread_may_log_after_its_own_end(void **state)
{
	int next[WRITERS_MAX];
	pthread_t threads[4];

	(void)state;
	shared = open_mode(LOGCORE_BUFFERED);
	/* created after the library's key, so its destructor runs later */
	pthread_key_create(&late_key, log_late);
	for (intptr_t who = 1; who <= LATE_THREADS; who += 4) {
		for (intptr_t i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, log_and_end, (void *)(who + i));
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
	}
	logcore_close(shared);
	pthread_key_delete(late_key);
	assert_int_equal(count_log(next), LATE_THREADS * 2 * LATE_LINES);
}

/* ---- exit ----------------------------------------------------------------------------------- */

enum { EXIT_THREADS = 3 };

static struct { _Atomic int returned[EXIT_THREADS]; } *seen;

static void *log_for_ever(void *who)
{
	for (int i = 0;; i++) {
		log_number(shared, (int)(intptr_t)who, i);
		seen->returned[(intptr_t)who] = i + 1;
	}
	return NULL;
}

static void exit_while_threads_log(void *arg)
{
	pthread_t thread;

	(void)arg;
	shared = open_mode(LOGCORE_BUFFERED);
	for (intptr_t i = 0; i < EXIT_THREADS; i++)
		pthread_create(&thread, NULL, log_for_ever, (void *)i);
	while (seen->returned[0] < 100)
		sched_yield();
	exit(0);
}

/* Check the next numbers. The last line of a thread may be torn: its call had not returned when
 * the process ended. */
static int count_but_torn(int next[EXIT_THREADS])
{
	FILE *f = fopen(path, "r");
	char line[512];
	int torn = 0, who, i;

	memset(next, 0, EXIT_THREADS * sizeof *next);
	while (fgets(line, sizeof line, f)) {
		const char *context = strstr(line, "\"context\":{\"who\":");

		if (!strstr(line, "}}\n") || !context ||
		    sscanf(context, "\"context\":{\"who\":%d,\"i\":%d", &who, &i) != 2) {
			torn++;
			continue;
		}
		assert_in_range(who, 0, EXIT_THREADS - 1);
		assert_int_equal(i, next[who]++);
	}
	fclose(f);
	return torn;
}

static void exit_keeps_every_line_in_order(void **state)
{
	enum { ROUNDS = 30 };
	int next[EXIT_THREADS];

	seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int round = 0; round < ROUNDS; round++) {
		memset(seen, 0, sizeof *seen);
		assert_ends_well(exit_while_threads_log, NULL);
		open_and_close();
		assert_in_range(count_but_torn(next), 0, EXIT_THREADS);
		for (int i = 0; i < EXIT_THREADS; i++)
			assert_true(next[i] >= seen->returned[i]);
		remove_log(state);
	}
	munmap(seen, 4096);
}

/* ---- fork ------------------------------------------------------------------------------------ */

static void *log_much(void *log)
{
	log_numbers(log, 0, 0, 500);
	return NULL;
}

static void open_another(void *arg)
{
	(void)arg;
	alarm(HUNG_S);
	logcore_close(open_mode(LOGCORE_BUFFERED));
}

/* The end of a thread waits for the reader of a pipe; a child that is forked meanwhile must not wait. */
static void a_child_does_not_wait_for_what_a_thread_of_its_parent_had(void **state)
{
	static char newlines[61000];
	pthread_t thread;
	int ends[2], flags;
	char bytes[4096];

	(void)state;
	assert_return_code(pipe(ends), errno);
	memset(newlines, '\n', sizeof newlines);
	assert_int_equal(write(ends[1], newlines, sizeof newlines), sizeof newlines);
	shared = logcore_open(&(struct logcore_options){ .fd = ends[1], .mode = LOGCORE_BUFFERED }, NULL, 0);
	pthread_create(&thread, NULL, log_much, shared);
	while (ioctl(ends[0], FIONREAD, &flags) == 0 && flags < 65000)          /* then it is in write(2) */
		sched_yield();
	assert_ends_well(open_another, NULL);
	flags = fcntl(ends[0], F_GETFL);
	fcntl(ends[0], F_SETFL, flags | O_NONBLOCK);
	while (pthread_tryjoin_np(thread, NULL) != 0)
		(void)!read(ends[0], bytes, sizeof bytes);
	logcore_close(shared);
	close(ends[0]);
	close(ends[1]);
}

/* ---- limits ------------------------------------------------------------------------------------ */

static void log_beyond_the_limit(void *mode)
{
	const struct rlimit limit = { 20000, 20000 };
	struct logcore *log;

	setrlimit(RLIMIT_FSIZE, &limit);
	log = open_mode((int)(intptr_t)mode);
	log_numbers(log, 0, 0, 1000);
	logcore_close(log);
}

static void a_limit_for_files_does_not_end_the_program(void **state)
{
	for (intptr_t mode = LOGCORE_DIRECT; mode <= LOGCORE_ASYNC; mode++) {
		assert_ends_well(log_beyond_the_limit, (void *)mode);
		remove_log(state);
	}
}

/* ---- the files ----------------------------------------------------------------------------------- */

static void a_line_that_another_process_tore_ends_before_the_next(void **state)
{
	static const char torn[] = "{\"timestamp\":\"2026-11-";
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	struct logcore *log;

	(void)state;
	assert_int_equal(write(fd, torn, sizeof torn - 1), sizeof torn - 1);
	close(fd);
	log = open_path(path);
	logcore_info(log, "after");
	logcore_close(log);
	assert_int_equal(strncmp(read_file(), "{\"timestamp\":\"2026-11-\n{", sizeof torn + 1), 0);
	assert_nth_message(1, "after");
}

static void in_another_folder(void *arg)
{
	struct logcore *log;

	(void)arg;
	if (chdir(folder) < 0 || mkdir("other", 0700) < 0)
		_exit(1);
	log = logcore_open(&(struct logcore_options){ .path = "app.log" }, NULL, 0);
	if (chdir("other") < 0)
		_exit(1);
	log_number(log, 0, 0);
	if (logcore_reopen(log) < 0 || unlink("app.log") == 0 || rmdir("../other") < 0)
		_exit(2);
	log_number(log, 0, 1);
}

static void a_relative_path_stays_where_it_was(void **state)
{
	(void)state;
	assert_ends_well(in_another_folder, NULL);
	assert_log_has(0, 2);
}

enum { OPENERS = 4 };

static void *open_at_once(void *barrier)
{
	pthread_barrier_wait(barrier);
	return open_mode(LOGCORE_BUFFERED);
}

/* Each looks for files of killed processes, and must skip those of its own process. */
static void opened_by_several_threads_at_once_each_keeps_its_file(void **state)
{
	enum { ROUNDS = 150 };
	pthread_t threads[OPENERS];
	pthread_barrier_t barrier;
	void *logs[OPENERS];

	(void)state;
	pthread_barrier_init(&barrier, NULL, OPENERS);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < OPENERS; i++)
			pthread_create(&threads[i], NULL, open_at_once, &barrier);
		for (int i = 0; i < OPENERS; i++)
			pthread_join(threads[i], &logs[i]);
		assert_int_equal(held_files(), OPENERS);
		for (int i = 0; i < OPENERS; i++)
			logcore_close(logs[i]);
	}
	pthread_barrier_destroy(&barrier);
}

int main(void)
{
#define EDGE(t) cmocka_unit_test_teardown(t, remove_log)
	const struct CMUnitTest tests[] = {
		EDGE(a_handler_that_logs_during_a_flush_does_not_deadlock),
		EDGE(a_thread_may_log_after_its_own_end),
		EDGE(exit_keeps_every_line_in_order),
		EDGE(a_child_does_not_wait_for_what_a_thread_of_its_parent_had),
		EDGE(a_limit_for_files_does_not_end_the_program),
		EDGE(a_line_that_another_process_tore_ends_before_the_next),
		EDGE(a_relative_path_stays_where_it_was),
		EDGE(opened_by_several_threads_at_once_each_keeps_its_file),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
