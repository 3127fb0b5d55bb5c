/*
 * leftovers.h - write the lines that killed processes left in their ring files. Private
 * to the library.
 *
 * Promises that each of those lines is in the log once, also when its process was killed
 * in the middle of a write(2), of which all, nothing or a part may have reached the file.
 */
#ifndef LOGCORE_LEFTOVERS_H
#define LOGCORE_LEFTOVERS_H

#include "logcore/sink.h"

/* Write those of the log's path, if there are any. What cannot be written stays for the next call. */
void logcore_leftovers_write(struct sink *sink, int64_t now_us);

#endif
