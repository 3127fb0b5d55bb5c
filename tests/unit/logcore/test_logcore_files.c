/* logcore, files: how it opens and follows them, and many writers on one file. */
#include "logcore_files.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static void file_is_private_appended_to_and_not_inherited(void **state)
{
	mode_t mask = umask(0);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	struct logcore *log;
	struct stat st;

	(void)state;
	assert_int_equal(write(fd, "old\n", 4), 4);
	close(fd);
	log = open_path(path);
	fd = open("/dev/null", O_RDONLY) - 1;   /* the descriptor that the logger took */
	close(fd + 1);
	assert_true(fcntl(fd, F_GETFL) & O_APPEND);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	logcore_info(log, "new");
	assert_int_equal(strncmp(read_file(), "old\n{", 5), 0);
	logcore_close(log);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	unlink(path);
	log = open_path(path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	logcore_close(log);
	umask(mask);
}

static void failure_to_open_is_one_sentence(void **state)
{
	char error[100];

	(void)state;
	assert_null(logcore_open(&(struct logcore_options){ .path = "/nowhere/app.log" }, error,
				 sizeof error));
	assert_int_equal(errno, ENOENT);
	assert_string_equal(error, "/nowhere/app.log: No such file or directory");
	assert_null(logcore_open(&(struct logcore_options){ .line_max = 10 }, error, sizeof error));
	assert_int_equal(errno, EINVAL);
	assert_string_equal(error, "line_max must be 1024 to 65536 bytes: Invalid argument");
	assert_null(logcore_open(&(struct logcore_options){ .fd = 1 << 20 }, NULL, 0));
	assert_int_equal(errno, EBADF);
}

/* A program built with a later header, whose options this version does not have. */
static void options_may_grow(void **state)
{
	struct { struct logcore_options o; int later; } newer = { .o = { .level = LOGCORE_ERROR } };
	struct logcore *log = logcore_open_(&newer.o, sizeof newer, NULL, 0);

	(void)state;
	assert_non_null(log);
	assert_false(logcore_enabled(log, LOGCORE_WARNING));
	logcore_close(log);
	newer.later = 1;
	assert_null(logcore_open_(&newer.o, sizeof newer, NULL, 0));
	/* A program built with an earlier header, which ended before line_max. */
	newer.o.line_max = 1;
	log = logcore_open_(&newer.o, offsetof(struct logcore_options, line_max), NULL, 0);
	assert_non_null(log);
	logcore_close(log);
}

/* ---- many writers ------------------------------------------------------------------ */

enum { PROCESSES = 3, THREADS = 4, LINES = 1500 };

static int process_number;
static struct logcore *shared;

static void *write_lines(void *arg)
{
	int thread = (int)(intptr_t)arg;

	for (int i = 0; i < LINES; i++)
		logcore_info(shared, "line", logcore_kv("who", process_number * THREADS + thread),
			     logcore_kv("i", i),
			     logcore_kv_strn("pad", "0123456789 0123456789 0123456789", (size_t)(i % 32)));
	return NULL;
}

static void run_threads(void)
{
	pthread_t threads[THREADS];

	for (intptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_lines, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static int spawn_writers(void)
{
	uint64_t written;

	for (process_number = 0; process_number < PROCESSES; process_number++) {
		if (fork() > 0)
			continue;
		if (process_number > 0) {       /* 0 uses the parent's logger, the others open their own */
			logcore_close(shared);
			shared = open_path(path);
		}
		run_threads();
		written = stats_of(shared).lines;
		logcore_close(shared);
		_exit(written == THREADS * LINES ? 0 : 1);
	}
	for (int i = 0, status; i < PROCESSES; i++)
		if (wait(&status) < 0 || status != 0)
			return -1;
	return 0;
}

static void lines_of_threads_and_processes_are_whole_and_complete(void **state)
{
	static int next[PROCESSES * THREADS];
	char line[512];
	int total = 0;
	FILE *f;

	(void)state;
	memset(next, 0, sizeof next);
	shared = open_path(path);
	assert_int_equal(spawn_writers(), 0);
	logcore_close(shared);
	f = fopen(path, "r");
	while (fgets(line, sizeof line, f)) {
		struct json_object *o = parse_line(line, strlen(line));
		int who = json_object_get_int(field(o, "who"));

		assert_non_null(o);
		assert_int_equal(json_object_get_int(field(o, "i")), next[who]++);
		json_object_put(o);
		total++;
	}
	fclose(f);
	assert_int_equal(total, PROCESSES * THREADS * LINES);
}

enum { MANY = 50000 };

static void *count_lines(void *log)
{
	for (int i = 0; i < MANY; i++)
		logcore_info(log, "x");
	return NULL;
}

/* To /dev/null, which does not serialize the threads. */
static void counters_are_exact_with_threads(void **state)
{
	struct logcore *log = open_path("/dev/null");
	pthread_t threads[THREADS];
	uint64_t bytes;

	(void)state;
	logcore_info(log, "x");
	bytes = stats_of(log).bytes;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, count_lines, log);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(stats_of(log).lines, THREADS * MANY + 1);
	assert_int_equal(stats_of(log).bytes, bytes * (THREADS * MANY + 1));
	logcore_close(log);
}

int main(void)
{
#define FILES(t) cmocka_unit_test_teardown(t, teardown)
	const struct CMUnitTest tests[] = {
		FILES(file_is_private_appended_to_and_not_inherited),
		FILES(failure_to_open_is_one_sentence),
		FILES(options_may_grow),
		FILES(counters_are_exact_with_threads),
		FILES(lines_of_threads_and_processes_are_whole_and_complete),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
