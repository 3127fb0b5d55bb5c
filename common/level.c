#include "level.h"

#include <stddef.h>

#define LEVELS(X)                                                                                            \
	X(TRACE, "trace")                                                                                    \
	X(DEBUG, "debug") X(INFO, "info") X(WARNING, "warning") X(ERROR, "error") X(CRITICAL, "critical")
#define NAME(name, word) [LEVEL_##name] = #name,
#define WORD(name, word) [LEVEL_##name] = (word),

const char *const log_level_names[LOG_LEVELS] = { LEVELS(NAME) };
const char *const log_level_words[LOG_LEVELS + 1] = { LEVELS(WORD) };
