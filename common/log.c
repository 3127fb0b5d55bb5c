#include "log.h"

#include <stdio.h>

struct logcore *log_open(const char *name, const char *level)
{
	struct logcore *log = logcore_open(&(struct logcore_options){
		.name = name,
		.level = logcore_level_number(level),
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
