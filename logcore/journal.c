#include "journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* systemd names the connection in $JOURNAL_STREAM as "device:inode", see systemd.exec(5). */
bool logcore_is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char here[sizeof "18446744073709551615:18446744073709551615"];
	struct stat st;

	if (!stream || fstat(fd, &st) < 0)
		return false;
	snprintf(here, sizeof here, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, here) == 0;
}
