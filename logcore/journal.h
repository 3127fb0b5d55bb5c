/*
 * journal.h - whether a descriptor is the journal. Private to the library.
 */
#ifndef LOGCORE_JOURNAL_H
#define LOGCORE_JOURNAL_H

#include <stdbool.h>

/* Whether `fd` is the connection to the journal that systemd opened for this process, and
 * was not redirected since. */
bool logcore_is_journal(int fd);

#endif
