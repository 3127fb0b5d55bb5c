/*
 * logcore_files.h - a folder with a log file, and functions that read its lines, for tests.
 */
#ifndef OBSERV_TEST_LOGCORE_FILES_H
#define OBSERV_TEST_LOGCORE_FILES_H

#include "logcore_lines.h"

#include <fcntl.h>
#include <stdio.h>

/* A folder for a test program's files, and the log in it. */
static char folder[] = "/tmp/logcore-test-XXXXXX", path[64];

static inline int make_folder(void **state)
{
	(void)state;
	unsetenv("LOGCORE_LEVEL");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof path, "%s/app.log", folder);
	return 0;
}

static inline int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static inline struct logcore *open_path(const char *name)
{
	struct logcore *log = logcore_open(&(struct logcore_options){ .name = "app", .path = name }, NULL, 0);

	assert_non_null(log);
	return log;
}

/* The whole of the file, terminated. */
static char content[4096];
static inline const char *read_file(void)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, content, sizeof content - 1);

	close(fd);
	content[n > 0 ? n : 0] = '\0';
	return content;
}

/* The n-th line of `content`, counted from 0. */
static inline struct json_object *nth_line(int n)
{
	const char *s = content;
	struct json_object *o;

	while (n--)
		s = strchr(s, '\n') + 1;
	o = parse_line(s, strcspn(s, "\n") + 1);
	assert_non_null(o);
	return o;
}

static inline void assert_nth_message(int n, const char *want)
{
	struct json_object *o = nth_line(n);

	assert_string_equal(text(member(o, "message")), want);
	json_object_put(o);
}

#endif
