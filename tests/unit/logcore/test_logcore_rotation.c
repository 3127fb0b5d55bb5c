/* logcore, files that other processes rename, and rotation by size and by time. */
#include "logcore_numbered.h"

#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

/* The wall clock stands still if a test sets it. */
static struct timespec fixed;

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	if (id != CLOCK_REALTIME || fixed.tv_sec == 0)
		return __real_clock_gettime(id, t);
	*t = fixed;
	return 0;
}

static char old[80];

static int setup(void **state)
{
	(void)state;
	fixed.tv_sec = 0;
	snprintf(old, sizeof old, "%s.1", path);
	return 0;
}

/* Set it to the middle of a second, so that no check is due by chance. */
static void stop_clock(void)
{
	fixed = (struct timespec){ time(NULL), 500000000 };
}

static const char *numbered(unsigned n)
{
	static char name[96];

	snprintf(name, sizeof name, n ? "%s.%u" : "%s", path, n);
	return name;
}

static bool exists(unsigned n)
{
	return access(numbered(n), F_OK) == 0;
}

/* All files, the oldest first. */
static int count_all(int next[WRITERS_MAX])
{
	unsigned last = 0;
	int lines = 0;

	memset(next, 0, WRITERS_MAX * sizeof *next);
	while (exists(last + 1))
		last++;
	for (unsigned i = last + 1; i-- > 0;)
		lines += count_file(numbered(i), next);
	return lines;
}

/* Two lines are in the renamed file. */
static struct logcore *open_and_rename(void)
{
	struct logcore *log;

	stop_clock();
	log = open_path(path);
	log_number(log, 0, 0);
	rename(path, old);
	log_number(log, 0, 1);
	return log;
}

static void assert_third_is_in_another(struct logcore *log, int next[WRITERS_MAX])
{
	log_number(log, 0, 2);
	assert_int_equal(count_file(old, next), 2);
	assert_int_equal(count_file(path, next), 1);
}

static void a_rename_is_followed_within_a_second(void **state)
{
	int next[WRITERS_MAX] = { 0 };
	struct logcore *log = open_and_rename();

	(void)state;
	fixed.tv_sec++;
	assert_third_is_in_another(log, next);
	unlink(path);
	fixed.tv_sec++;
	log_number(log, 0, 3);
	assert_int_equal(count_file(path, next), 1);
	logcore_close(log);
}

static void reopening_follows_a_rename_at_once(void **state)
{
	int next[WRITERS_MAX] = { 0 };
	struct logcore *log = open_and_rename();

	(void)state;
	assert_int_equal(logcore_reopen(log), 0);
	assert_third_is_in_another(log, next);
	logcore_close(log);
}

static void a_removed_folder_does_not_stop_the_log(void **state)
{
	struct logcore *log;
	char inner[64], file[96], moved[96];
	int next[WRITERS_MAX] = { 0 };

	(void)state;
	stop_clock();
	snprintf(inner, sizeof inner, "%s/inner", folder);
	snprintf(file, sizeof file, "%s/app.log", inner);
	snprintf(moved, sizeof moved, "%s/moved.log", folder);
	mkdir(inner, 0700);
	log = open_path(file);
	rename(file, moved);
	rmdir(inner);
	for (int i = 0; i < 3; i++, fixed.tv_sec++)
		log_number(log, 0, i);
	errno = EDOM;                   /* for SIGHUP handlers */
	assert_int_equal(logcore_reopen(log), -ENOENT);
	assert_int_equal(errno, EDOM);
	assert_int_equal(count_file(moved, next), 3);
	logcore_close(log);
}

static void lines_for_a_file_without_a_name_are_counted(void **state)
{
	struct logcore *log;
	char inner[64], file[96];

	(void)state;
	stop_clock();
	snprintf(inner, sizeof inner, "%s/inner", folder);
	snprintf(file, sizeof file, "%s/app.log", inner);
	mkdir(inner, 0700);
	log = open_path(file);
	unlink(file);
	rmdir(inner);
	for (int i = 0; i < 3; i++) {
		fixed.tv_sec++;
		log_number(log, 0, i);
	}
	assert_int_equal(stats_of(log).dropped, 3);
	mkdir(inner, 0700);
	fixed.tv_sec++;
	logcore_info(log, "line", logcore_kv("who", 0), logcore_kv("i", 0));
	assert_int_equal(stats_of(log).lines, 2);       /* "3 lines lost" */
	logcore_close(log);
	unlink(file);
	rmdir(inner);
}

static void a_link_is_refused_on_demand(void **state)
{
	struct logcore_options o = { .path = path, .no_follow = true };
	char error[200];

	(void)state;
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_null(logcore_open(&o, error, sizeof error));
	assert_int_equal(errno, ELOOP);
	assert_non_null(strstr(error, "app.log: Too many levels of symbolic links"));
}

/* ---- by size and by time --------------------------------------------------------------------- */

static void by_size_and_the_last_ones_stay(int mode)
{
	struct logcore *log = logcore_open(
		&(struct logcore_options){ .path = path, .mode = mode, .rotate_bytes = 65536,
					   .rotate_keep = 3 }, NULL, 0);
	struct stat st;

	log_numbers(log, 0, 0, 10000);
	logcore_close(log);
	assert_true(exists(3));
	assert_false(exists(4));
	for (unsigned i = 0; i <= 3; i++) {
		assert_int_equal(stat(numbered(i), &st), 0);
		assert_in_range(st.st_size, 1, 65536);
	}
}

static void by_size_direct(void **state)
{
	(void)state;
	by_size_and_the_last_ones_stay(LOGCORE_DIRECT);
}

static void by_size_buffered(void **state)
{
	(void)state;
	by_size_and_the_last_ones_stay(LOGCORE_BUFFERED);
}

static void no_line_is_lost_by_rotating(void **state)
{
	struct logcore *log = logcore_open(
		&(struct logcore_options){ .path = path, .rotate_bytes = 65536, .rotate_keep = 100 }, NULL,
		0);
	int next[WRITERS_MAX];

	(void)state;
	log_numbers(log, 0, 0, 10000);
	logcore_close(log);
	assert_int_equal(count_all(next), 10000);
	assert_true(exists(15));
}

static void by_time_at_each_multiple(void **state)
{
	struct logcore_options o = { .path = path, .rotate_seconds = 3600 };
	int next[WRITERS_MAX] = { 0 };
	struct logcore *log;
	struct timespec times[2];

	(void)state;
	stop_clock();
	fixed.tv_sec = fixed.tv_sec / 3600 * 3600 + 3599;
	log = logcore_open(&o, NULL, 0);
	log_number(log, 0, 0);
	fixed.tv_sec += 1;
	log_number(log, 0, 1);
	assert_int_equal(count_file(old, next), 1);
	fixed.tv_sec += 3000;
	log_number(log, 0, 2);
	assert_int_equal(count_file(path, next), 2);
	logcore_close(log);
	/* A file that is opened in a later hour belongs to the hour of its last line. */
	times[0] = times[1] = fixed;
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	fixed.tv_sec += 3600;
	log = logcore_open(&o, NULL, 0);
	log_number(log, 0, 3);
	assert_int_equal(count_file(path, next), 1);
	/* An empty file is not rotated. */
	assert_int_equal(truncate(path, 0), 0);
	fixed.tv_sec += 3600;
	log_number(log, 0, 4);
	assert_false(exists(3));
	assert_int_equal(count_file(path, next), 1);
	logcore_close(log);
}

/* ---- several processes ------------------------------------------------------------------------- */

enum { PROCESSES = 4, THREADS = 2, LINES = 4000 };

static struct logcore *shared;
static int first;

static void *write_lines(void *arg)
{
	log_numbers(shared, first + (int)(intptr_t)arg, 0, LINES);
	return NULL;
}

static void write_with_threads(int mode)
{
	pthread_t threads[THREADS];

	shared = logcore_open(&(struct logcore_options){ .path = path,
							 .mode = mode,
							 .block_when_full = true,
							 .rotate_bytes = 128 * 1024,
							 .rotate_keep = 1000 },
			      NULL, 0);
	for (intptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_lines, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	logcore_close(shared);
}

/* A process that has not noticed the rotation writes to the old file: the order holds within each
 * file, and no line is missing. */
static void processes_rotate_one_file(void **state)
{
	static int seen[PROCESSES * THREADS][LINES];
	int status;
	char line[512];

	(void)state;
	memset(seen, 0, sizeof seen);
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			first = i * THREADS;
			write_with_threads(i % 3);
			_exit(0);
		}
	for (int i = 0; i < PROCESSES; i++) {
		wait(&status);
		assert_int_equal(status, 0);
	}
	for (unsigned n = 0; exists(n); n++) {
		FILE *f = fopen(numbered(n), "r");

		while (fgets(line, sizeof line, f)) {
			struct json_object *o = parse_line(line, strlen(line));

			assert_non_null(o);
			seen[json_object_get_int(field(o, "who"))][json_object_get_int(field(o, "i"))]++;
			json_object_put(o);
		}
		fclose(f);
	}
	for (int who = 0; who < PROCESSES * THREADS; who++)
		for (int i = 0; i < LINES; i++)
			assert_int_equal(seen[who][i], 1);
	assert_true(exists(2));
}

int main(void)
{
#define ROTATION(t) cmocka_unit_test_setup_teardown(t, setup, remove_log)
	const struct CMUnitTest tests[] = {
		ROTATION(a_rename_is_followed_within_a_second),
		ROTATION(reopening_follows_a_rename_at_once),
		ROTATION(a_removed_folder_does_not_stop_the_log),
		ROTATION(lines_for_a_file_without_a_name_are_counted),
		ROTATION(a_link_is_refused_on_demand),
		ROTATION(by_size_direct),
		ROTATION(by_size_buffered),
		ROTATION(no_line_is_lost_by_rotating),
		ROTATION(by_time_at_each_multiple),
		ROTATION(processes_rotate_one_file),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
