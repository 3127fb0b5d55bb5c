/* common/log: the programs' log on standard error. */
#include "tests/unit/logcore/logcore_lines.h"

#include <stdio.h>
#include <sys/stat.h>

#include "common/log.h"

static struct {
	int saved, ends[2];
	char line[512];
} err;

/* Standard error becomes one end of a socket, as it is under systemd. */
static int setup(void **state)
{
	(void)state;
	unsetenv("LOGCORE_LEVEL");
	unsetenv("JOURNAL_STREAM");
	fflush(stderr);
	err.saved = dup(STDERR_FILENO);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, err.ends) < 0)
		return -1;
	return dup2(err.ends[0], STDERR_FILENO) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	dup2(err.saved, STDERR_FILENO);
	close(err.saved);
	close(err.ends[0]);
	close(err.ends[1]);
	return 0;
}

static const char *next_line(void)
{
	ssize_t n = recv(err.ends[1], err.line, sizeof err.line - 1, MSG_DONTWAIT);

	err.line[n > 0 ? n : 0] = '\0';
	return err.line;
}

static void set_journal_stream(int inode_off)
{
	char value[64];
	struct stat st;

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(value, sizeof value, "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino + (unsigned long long)inode_off);
	setenv("JOURNAL_STREAM", value, 1);
}

static bool begins_with_priority(void)
{
	struct logcore *log = log_open("obs_agent", NULL);
	bool yes;

	logcore_error(log, "x");
	yes = strncmp(next_line(), "<3>{", 4) == 0;
	assert_non_null(strstr(err.line,
			       "\"level\":\"ERROR\",\"logger\":\"obs_agent\",\"message\":\"x\"}\n"));
	logcore_close(log);
	return yes;
}

static void priorities_are_for_the_journal_only(void **state)
{
	static const char *const odd[] = { "", ":", "1", "1:", ":1", "x:y", "-1:5" };

	(void)state;
	assert_false(begins_with_priority());
	set_journal_stream(0);
	assert_true(begins_with_priority());
	set_journal_stream(1);                  /* redirected since */
	assert_false(begins_with_priority());
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
		setenv("JOURNAL_STREAM", odd[i], 1);
		assert_false(begins_with_priority());
	}
}

static void a_name_sets_the_level(void **state)
{
	struct logcore *log = log_open("obs_agent", "error");

	(void)state;
	logcore_warning(log, "no");
	assert_string_equal(next_line(), "");
	assert_true(log_set_level(log, "Debug"));
	assert_false(log_set_level(log, "loud"));
	logcore_debug(log, "yes");
	assert_non_null(strstr(next_line(), "\"yes\""));
	logcore_close(log);
}

static void unknown_level_means_info_and_a_warning(void **state)
{
	struct logcore *log = log_open("obs_agent", "loud");

	(void)state;
	assert_non_null(strstr(next_line(), "\"level\":\"WARNING\""));
	assert_non_null(strstr(err.line, "{\"level\":\"loud\"}"));
	assert_true(logcore_enabled(log, LOGCORE_INFO) && !logcore_enabled(log, LOGCORE_DEBUG));
	logcore_close(log);
}

int main(void)
{
#define LOG(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		LOG(priorities_are_for_the_journal_only),
		LOG(a_name_sets_the_level),
		LOG(unknown_level_means_info_and_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
