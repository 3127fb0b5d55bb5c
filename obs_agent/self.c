#include "self.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/parse.h"

enum { SELF_FILE_MAX = 4096 };

static void read_file(const char *path, char text[SELF_FILE_MAX])
{
	CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, SELF_FILE_MAX - 1);

	text[n > 0 ? n : 0] = '\0';
}

/* The number that follows `label` and blanks. */
static int64_t number_after(const char *text, const char *label, int64_t otherwise)
{
	const char *at = strstr(text, label);
	int64_t number = otherwise;

	if (!at)
		return otherwise;
	at += strlen(label);
	at += strspn(at, " \t");
	return parse_i64((struct text){ at, strspn(at, "0123456789") }, &number) ? number : otherwise;
}

/* Resident memory is the second number of statm, in pages. */
int64_t self_rss_kb(void)
{
	char text[SELF_FILE_MAX];

	read_file("/proc/self/statm", text);
	return number_after(text, " ", 0) * (sysconf(_SC_PAGESIZE) / 1024);
}

int64_t self_threads(void)
{
	char text[SELF_FILE_MAX];

	read_file("/proc/self/status", text);
	return number_after(text, "\nThreads:", 1);
}
