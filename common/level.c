#include "level.h"

const char *const log_level_names[LOG_LEVELS] = { "TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL" };
