/*
 * logcore_numbered.h - numbered lines of several writers, and a check that each is in the log
 * once, whole, and in the order of its writer. For tests.
 */
#ifndef OBSERV_TEST_LOGCORE_NUMBERED_H
#define OBSERV_TEST_LOGCORE_NUMBERED_H

#include "logcore_files.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { WRITERS_MAX = 64 };

static inline struct logcore *open_mode(int mode)
{
	struct logcore_options options = { .name = "app", .path = path, .mode = mode };
	struct logcore *log = logcore_open(&options, NULL, 0);

	assert_non_null(log);
	return log;
}

static inline void log_number(struct logcore *log, int who, int i)
{
	logcore_info(log, "line", logcore_kv("who", who), logcore_kv("i", i),
		     logcore_kv_strn("pad", "0123456789 0123456789 0123456789", (size_t)(i % 32)));
}

static inline void log_numbers(struct logcore *log, int who, int from, int to)
{
	for (int i = from; i < to; i++)
		log_number(log, who, i);
}

/* Check the lines of a file: next[who] is the next expected number. */
static inline int count_file(const char *name, int next[WRITERS_MAX])
{
	static char line[LOGCORE_LINE_MAX + 1];
	FILE *f = fopen(name, "r");
	int n = 0;

	assert_non_null(f);
	for (; fgets(line, sizeof line, f); n++) {
		size_t len = strlen(line);
		const char *numbers = strstr(line, "\"context\":{\"who\":");
		int who = -1, i = -1;

		if (strncmp(line, "{\"timestamp\":\"", 14) != 0 || strcmp(line + len - 3, "}}\n") != 0 ||
		    strstr(line + 1, "{\"timestamp\"") || !numbers ||
		    sscanf(numbers, "\"context\":{\"who\":%d,\"i\":%d", &who, &i) != 2 || who < 0 ||
		    who >= WRITERS_MAX)
			fail_msg("%s: not a whole line: %s", name, line);
		if (i != next[who])
			fail_msg("%s: writer %d: line %d where %d was to come", name, who, i, next[who]);
		next[who]++;
	}
	fclose(f);
	return n;
}

static inline int count_log(int next[WRITERS_MAX])
{
	memset(next, 0, WRITERS_MAX * sizeof *next);
	return count_file(path, next);
}

static inline void assert_log_has(int who, int lines)
{
	int next[WRITERS_MAX];

	assert_int_equal(count_log(next), lines);
	assert_int_equal(next[who], lines);
}

/* How many ring files are beside the log. */
static inline int held_files(void)
{
	DIR *dir = opendir(folder);
	int n = 0;

	for (struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] == '.' && strstr(e->d_name, ".held") != NULL;
	closedir(dir);
	return n;
}

/* After a test: check that only the announced files are left. */
static inline int remove_log(void **state)
{
	DIR *dir = opendir(folder);
	char name[512];
	int held = held_files();

	(void)state;
	for (struct dirent *e; (e = readdir(dir));) {
		snprintf(name, sizeof name, "%s/%s", folder, e->d_name);
		unlink(name);
	}
	closedir(dir);
	return held;
}

/* Call it with the result of fork(): runs in the child; returns the child's wait status in the parent. */
static inline int run_in(pid_t child, void (*run)(void *), void *arg)
{
	int status = -1;

	if (child == 0) {
		run(arg);
		_exit(0);
	}
	waitpid(child, &status, 0);
	return status;
}

static inline int in_child(void (*run)(void *), void *arg)
{
	return run_in(fork(), run, arg);
}

/* Open and close the log, which writes the lines of killed processes. */
static inline void open_and_close(void)
{
	logcore_close(open_path(path));
}

#endif
