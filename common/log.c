#include "log.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parse.h"

/* Whether `fd` is the connection to the journal that systemd made: it names that
 * in $JOURNAL_STREAM as "device:inode". Somebody may have redirected us since. */
static bool is_journal(int fd)
{
	struct text t = text_of(getenv("JOURNAL_STREAM"));
	const char *colon = t.s ? memchr(t.s, ':', t.len) : NULL;
	uint64_t device, inode;
	struct stat st;

	if (!colon || fstat(fd, &st) < 0)
		return false;
	return parse_u64((struct text){ t.s, (size_t)(colon - t.s) }, &device) &&
	       parse_u64(text_of(colon + 1), &inode) && device == st.st_dev && inode == st.st_ino;
}

struct logcore *log_open(const char *name, const char *level)
{
	struct logcore *log = logcore_open(&(struct logcore_options){
		.name = name,
		.fd = STDERR_FILENO,
		.level = logcore_level_number(level),
		.journal_priority = is_journal(STDERR_FILENO),
	}, NULL, 0);

	if (!log)
		fprintf(stderr, "%s: out of memory for its log\n", name);
	if (level && !logcore_level_number(level))
		logcore_warning(log, "the log level is not known, using info", logcore_kv("level", level));
	return log;
}

bool log_set_level(struct logcore *log, const char *level)
{
	int number = logcore_level_number(level);

	if (number)
		logcore_set_level(log, number);
	return number != 0;
}
