/* logcore, the journal: lines get priorities if systemd connected the descriptor to it. */
#include "logcore_files.h"

#include <sys/stat.h>

static int ends[2], saved;

static int setup(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
}

static int teardown(void **state)
{
	(void)state;
	close(ends[0]);
	close(ends[1]);
	unlink(path);
	return 0;
}

/* Set the variable as systemd does; `odd` stands around and between the numbers. */
static void name_journal_oddly(int fd, const char *const odd[3])
{
	char value[64];
	struct stat st;

	assert_return_code(fstat(fd, &st), errno);
	snprintf(value, sizeof value, "%s%lu%s%lu%s", odd[0], (unsigned long)st.st_dev, odd[1],
		 (unsigned long)st.st_ino, odd[2]);
	setenv("JOURNAL_STREAM", value, 1);
}

static void name_journal(int fd)
{
	name_journal_oddly(fd, (const char *const[]){ "", ":", "" });
}

/* The line of a logger with these options, up to the message. */
static bool has_priority(struct logcore_options o, int from)
{
	struct logcore *log = logcore_open(&o, NULL, 0);
	char line[512] = "";

	assert_non_null(log);
	logcore_error(log, "x");
	logcore_close(log);
	assert_true(read(from, line, sizeof line - 1) > 0);
	assert_true(line[0] == '{' || strncmp(line, "<3>{", 4) == 0);
	return line[0] == '<';
}

static void socket_that_systemd_named_is_the_journal(void **state)
{
	struct logcore_options o = { .fd = ends[0] };

	(void)state;
	assert_false(has_priority(o, ends[1]));
	name_journal(ends[0]);
	assert_true(has_priority(o, ends[1]));
	o.ignore_environment = true;
	assert_true(has_priority(o, ends[1]));
	o.no_journal_stream = true;
	assert_false(has_priority(o, ends[1]));
	o.journal_priority = true;              /* the option asks for it */
	assert_true(has_priority(o, ends[1]));
}

static void standard_error_is_looked_at_when_nothing_else_is_said(void **state)
{
	bool seen, redirected;
	int pipe_ends[2];

	(void)state;
	assert_return_code(pipe(pipe_ends), errno);
	name_journal(ends[0]);
	fflush(stderr);
	saved = dup(STDERR_FILENO);
	dup2(ends[0], STDERR_FILENO);
	seen = has_priority((struct logcore_options){ .name = "app" }, ends[1]);
	dup2(pipe_ends[1], STDERR_FILENO);      /* billing 2>&1 | cat */
	redirected = has_priority((struct logcore_options){ .name = "app" }, pipe_ends[0]);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	assert_true(seen);
	assert_false(redirected);
}

static void a_variable_that_names_another_file_is_not_the_journal(void **state)
{
	static const char *const texts[] = { "", ":", "1", "1:", ":1", "x:y" };
	static const char *const odd[][3] = {
		{ "", ":1", "" }, { "1", ":", "" }, { "", ":", "1" }, { " ", ":", "" }, { "", ":", " " },
		{ "-", ":", "" }, { "", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		setenv("JOURNAL_STREAM", texts[i], 1);
		assert_false(has_priority((struct logcore_options){ .fd = ends[0] }, ends[1]));
	}
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
		name_journal_oddly(ends[0], odd[i]);
		assert_false(has_priority((struct logcore_options){ .fd = ends[0] }, ends[1]));
	}
}

/* Lines to a file have no priority, whatever standard error is. */
static void a_file_is_not_the_journal(void **state)
{
	int fd = open(path, O_RDONLY | O_CREAT, 0600);
	struct logcore *log;

	(void)state;
	name_journal(fd);
	log = open_path(path);
	logcore_info(log, "x");
	logcore_close(log);
	close(fd);
	assert_int_equal(*read_file(), '{');
}

static void journal_gets_lines_that_it_does_not_split(void **state)
{
	char *text = big('x', 60000);
	struct capture c;

	(void)state;
	name_journal(ends[0]);
	capture_open(&c, (struct logcore_options){ .name = "app" });
	logcore_info(c.log, "x", logcore_kv("text", text));
	assert_true(capture_next(&c));
	assert_in_range(c.len, 60000, LOGCORE_LINE_MAX);
	name_journal(c.ends[0]);
	logcore_close(c.log);
	c.log = logcore_open(&(struct logcore_options){ .fd = c.ends[0] }, NULL, 0);
	logcore_info(c.log, "x", logcore_kv("text", text));
	assert_true(capture_next(&c));
	assert_in_range(c.len, 1, 48000);
	capture_close(&c);
	free(text);
}

int main(void)
{
#define JOURNAL(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		JOURNAL(socket_that_systemd_named_is_the_journal),
		JOURNAL(standard_error_is_looked_at_when_nothing_else_is_said),
		JOURNAL(a_variable_that_names_another_file_is_not_the_journal),
		JOURNAL(a_file_is_not_the_journal),
		JOURNAL(journal_gets_lines_that_it_does_not_split),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
