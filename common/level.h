/*
 * level.h - the levels of log lines, as the database stores them.
 */
#ifndef OBSERV_LEVEL_H
#define OBSERV_LEVEL_H

/* The numbers are part of the wire format. */
enum log_level {
	LEVEL_TRACE,
	LEVEL_DEBUG,
	LEVEL_INFO,
	LEVEL_WARNING,
	LEVEL_ERROR,
	LEVEL_CRITICAL,
	LOG_LEVELS                      /* how many there are */
};

/* "TRACE" to "CRITICAL". */
extern const char *const log_level_names[LOG_LEVELS];

/* "trace" to "critical", as people write them; NULL-terminated. */
extern const char *const log_level_words[LOG_LEVELS + 1];

#endif
