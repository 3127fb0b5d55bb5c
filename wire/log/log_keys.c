#include "log_keys.h"

#include <string.h>

#define ANY (TAKES_STRING | TAKES_NUMBER | TAKES_OBJECT | TAKES_ARRAY | TAKES_WORD)
#define TEXT_ONLY TAKES_STRING
#define STRING_OR_NUMBER (TAKES_STRING | TAKES_NUMBER)

/*
 * The first five are logcore's, in the order in which it writes them. Within a slot the order is
 * the order of trust.
 */
const struct log_key log_keys[] = {
#define KEY(name, slot, rank, takes) { { name, sizeof name - 1 }, slot, rank, takes, LEVELS_ANY }
#define WORDS(name, rank) { { name, sizeof name - 1 }, SLOT_LEVEL, rank, TEXT_ONLY, LEVELS_NONE }
#define NUMBERS(name, rank, family) { { name, sizeof name - 1 }, SLOT_LEVEL, rank, STRING_OR_NUMBER, family }
	KEY("timestamp", SLOT_TIMESTAMP, 0, STRING_OR_NUMBER),
	KEY("level", SLOT_LEVEL, 0, STRING_OR_NUMBER),
	KEY("logger", SLOT_LOGGER, 0, TEXT_ONLY),
	KEY("message", SLOT_MESSAGE, 0, ANY),
	KEY("context", SLOT_CONTEXT, 0, ANY),

	KEY("@timestamp", SLOT_TIMESTAMP, 1, STRING_OR_NUMBER),
	KEY("time", SLOT_TIMESTAMP, 2, STRING_OR_NUMBER),
	KEY("ts", SLOT_TIMESTAMP, 3, STRING_OR_NUMBER),
	KEY("@t", SLOT_TIMESTAMP, 4, STRING_OR_NUMBER),
	KEY("Timestamp", SLOT_TIMESTAMP, 5, STRING_OR_NUMBER),
	KEY("asctime", SLOT_TIMESTAMP, 6, STRING_OR_NUMBER),
	KEY("datetime", SLOT_TIMESTAMP, 7, STRING_OR_NUMBER),
	KEY("timeMillis", SLOT_TIMESTAMP, 8, STRING_OR_NUMBER),
	KEY("instant.epochSecond", SLOT_TIMESTAMP, 9, STRING_OR_NUMBER),
	KEY("t.$date", SLOT_TIMESTAMP, 10, STRING_OR_NUMBER),
	KEY("startTime", SLOT_TIMESTAMP, 11, STRING_OR_NUMBER),
	KEY("timeUnixNano", SLOT_TIMESTAMP, 12, STRING_OR_NUMBER),
	KEY("observedTimeUnixNano", SLOT_TIMESTAMP, 13, STRING_OR_NUMBER),
	KEY("time_unix_nano", SLOT_TIMESTAMP, 14, STRING_OR_NUMBER),
	KEY("record.time.timestamp", SLOT_TIMESTAMP, 15, STRING_OR_NUMBER),
	KEY("datetime.date", SLOT_TIMESTAMP, 16, STRING_OR_NUMBER),
	KEY("_meta.date", SLOT_TIMESTAMP, 17, STRING_OR_NUMBER),
	KEY("ISODATE", SLOT_TIMESTAMP, 18, STRING_OR_NUMBER),
	KEY("ibm_datetime", SLOT_TIMESTAMP, 19, TEXT_ONLY),
	KEY("timestamp.seconds", SLOT_TIMESTAMP, 19, STRING_OR_NUMBER),
	KEY("start_time", SLOT_TIMESTAMP, 19, TEXT_ONLY),
	KEY("requestReceivedTimestamp", SLOT_TIMESTAMP, 19, TEXT_ONLY),
	KEY("timereported", SLOT_TIMESTAMP, 19, STRING_OR_NUMBER),
	KEY("eventTime", SLOT_TIMESTAMP, 20, STRING_OR_NUMBER),
	KEY("event_time", SLOT_TIMESTAMP, 21, STRING_OR_NUMBER),
	KEY("log_time", SLOT_TIMESTAMP, 22, STRING_OR_NUMBER),
	KEY("logTime", SLOT_TIMESTAMP, 23, STRING_OR_NUMBER),
	KEY("time_local", SLOT_TIMESTAMP, 24, STRING_OR_NUMBER),
	KEY("time_iso8601", SLOT_TIMESTAMP, 25, STRING_OR_NUMBER),
	KEY("created_at", SLOT_TIMESTAMP, 26, STRING_OR_NUMBER),
	KEY("created", SLOT_TIMESTAMP, 27, STRING_OR_NUMBER),
	KEY("__REALTIME_TIMESTAMP", SLOT_TIMESTAMP, 28, STRING_OR_NUMBER),
	KEY("_SOURCE_REALTIME_TIMESTAMP", SLOT_TIMESTAMP, 29, STRING_OR_NUMBER),
	KEY("TIMESTAMP", SLOT_TIMESTAMP, 30, STRING_OR_NUMBER),
	KEY("Time", SLOT_TIMESTAMP, 31, STRING_OR_NUMBER),
	KEY("TimeStamp", SLOT_TIMESTAMP, 32, STRING_OR_NUMBER),
	KEY("UNIXTIME", SLOT_TIMESTAMP, 33, STRING_OR_NUMBER),
	KEY("date", SLOT_TIMESTAMP, 34, STRING_OR_NUMBER),
	KEY("DATE", SLOT_TIMESTAMP, 35, STRING_OR_NUMBER),
	KEY("t", SLOT_TIMESTAMP, 36, STRING_OR_NUMBER),

	KEY("log.level", SLOT_LEVEL, 1, STRING_OR_NUMBER),
	KEY("@level", SLOT_LEVEL, 2, STRING_OR_NUMBER),
	KEY("levelname", SLOT_LEVEL, 3, TEXT_ONLY),
	KEY("level_name", SLOT_LEVEL, 4, TEXT_ONLY),
	KEY("levelName", SLOT_LEVEL, 5, TEXT_ONLY),
	KEY("level.levelStr", SLOT_LEVEL, 6, TEXT_ONLY),
	KEY("level.name", SLOT_LEVEL, 7, TEXT_ONLY),
	KEY("record.level.name", SLOT_LEVEL, 8, TEXT_ONLY),
	KEY("severity_text", SLOT_LEVEL, 9, TEXT_ONLY),
	KEY("severityText", SLOT_LEVEL, 10, TEXT_ONLY),
	KEY("SeverityText", SLOT_LEVEL, 11, TEXT_ONLY),
	KEY("severity", SLOT_LEVEL, 12, STRING_OR_NUMBER),
	KEY("error_severity", SLOT_LEVEL, 13, TEXT_ONLY),
	KEY("@l", SLOT_LEVEL, 14, STRING_OR_NUMBER),
	KEY("Level", SLOT_LEVEL, 15, STRING_OR_NUMBER),
	KEY("LogLevel", SLOT_LEVEL, 16, STRING_OR_NUMBER),
	KEY("logLevel", SLOT_LEVEL, 17, STRING_OR_NUMBER),
	KEY("log_level", SLOT_LEVEL, 18, STRING_OR_NUMBER),
	KEY("loglevel", SLOT_LEVEL, 19, STRING_OR_NUMBER),
	KEY("Severity", SLOT_LEVEL, 20, STRING_OR_NUMBER),
	KEY("LEVEL", SLOT_LEVEL, 21, STRING_OR_NUMBER),
	KEY("lvl", SLOT_LEVEL, 22, STRING_OR_NUMBER),
	KEY("_meta.logLevelName", SLOT_LEVEL, 23, TEXT_ONLY),
	KEY("context.logLevel", SLOT_LEVEL, 24, STRING_OR_NUMBER),
	KEY("priority", SLOT_LEVEL, 25, STRING_OR_NUMBER),
	KEY("PRIORITY", SLOT_LEVEL, 26, STRING_OR_NUMBER),
	KEY("syslogseverity-text", SLOT_LEVEL, 27, TEXT_ONLY),
	KEY("syslogseverity", SLOT_LEVEL, 28, STRING_OR_NUMBER),
	NUMBERS("levelno", 29, LEVELS_PYTHON),
	NUMBERS("severity_number", 30, LEVELS_OPENTELEMETRY),
	NUMBERS("severityNumber", 31, LEVELS_OPENTELEMETRY),
	NUMBERS("SeverityNumber", 32, LEVELS_OPENTELEMETRY),
	NUMBERS("_meta.logLevelId", 33, LEVELS_TSLOG),
	KEY("level_value", SLOT_LEVEL, 34, STRING_OR_NUMBER),
	KEY("label", SLOT_LEVEL, 35, TEXT_ONLY),
	KEY("s", SLOT_LEVEL, 36, TEXT_ONLY),
	WORDS("status", 37),

	KEY("log.logger", SLOT_LOGGER, 1, TEXT_ONLY),
	KEY("loggerName", SLOT_LOGGER, 2, TEXT_ONLY),
	KEY("logger_name", SLOT_LOGGER, 3, TEXT_ONLY),
	KEY("SourceContext", SLOT_LOGGER, 4, TEXT_ONLY),
	KEY("Properties.SourceContext", SLOT_LOGGER, 5, TEXT_ONLY),
	KEY("channel", SLOT_LOGGER, 6, TEXT_ONLY),
	KEY("target", SLOT_LOGGER, 7, TEXT_ONLY),
	KEY("Category", SLOT_LOGGER, 8, TEXT_ONLY),
	KEY("categoryName", SLOT_LOGGER, 9, TEXT_ONLY),
	KEY("Logger", SLOT_LOGGER, 10, TEXT_ONLY),
	KEY("LoggerName", SLOT_LOGGER, 11, TEXT_ONLY),
	KEY("@logger", SLOT_LOGGER, 12, TEXT_ONLY),
	KEY("@module", SLOT_LOGGER, 13, TEXT_ONLY),
	KEY("record.name", SLOT_LOGGER, 14, TEXT_ONLY),
	KEY("_meta.name", SLOT_LOGGER, 15, TEXT_ONLY),
	KEY("scope.name", SLOT_LOGGER, 16, TEXT_ONLY),
	KEY("progname", SLOT_LOGGER, 17, TEXT_ONLY),
	KEY("programname", SLOT_LOGGER, 18, TEXT_ONLY),
	KEY("PROGRAM", SLOT_LOGGER, 19, TEXT_ONLY),
	KEY("SYSLOG_IDENTIFIER", SLOT_LOGGER, 20, TEXT_ONLY),
	KEY("syslogtag", SLOT_LOGGER, 21, TEXT_ONLY),
	KEY("component", SLOT_LOGGER, 22, TEXT_ONLY),
	KEY("module", SLOT_LOGGER, 22, TEXT_ONLY),
	KEY("c", SLOT_LOGGER, 22, TEXT_ONLY),
	KEY("source", SLOT_LOGGER, 23, TEXT_ONLY),
	KEY("app", SLOT_LOGGER, 24, TEXT_ONLY),
	KEY("name", SLOT_LOGGER, 25, TEXT_ONLY),

	KEY("msg", SLOT_MESSAGE, 1, ANY),
	KEY("@message", SLOT_MESSAGE, 2, ANY),
	KEY("@m", SLOT_MESSAGE, 3, TEXT_ONLY),
	KEY("RenderedMessage", SLOT_MESSAGE, 4, TEXT_ONLY),
	KEY("short_message", SLOT_MESSAGE, 5, TEXT_ONLY),
	KEY("Message", SLOT_MESSAGE, 6, ANY),
	KEY("MESSAGE", SLOT_MESSAGE, 7, ANY),
	KEY("fields.message", SLOT_MESSAGE, 8, TEXT_ONLY),
	KEY("record.message", SLOT_MESSAGE, 9, TEXT_ONLY),
	KEY("textPayload", SLOT_MESSAGE, 10, TEXT_ONLY),
	KEY("jsonPayload.message", SLOT_MESSAGE, 11, TEXT_ONLY),
	KEY("body", SLOT_MESSAGE, 12, TEXT_ONLY),
	KEY("body.stringValue", SLOT_MESSAGE, 13, TEXT_ONLY),
	KEY("Body", SLOT_MESSAGE, 14, TEXT_ONLY),
	KEY("event", SLOT_MESSAGE, 15, TEXT_ONLY),
	KEY("@mt", SLOT_MESSAGE, 16, TEXT_ONLY),
	KEY("MessageTemplate", SLOT_MESSAGE, 17, TEXT_ONLY),
	KEY("Msg", SLOT_MESSAGE, 18, TEXT_ONLY),
	KEY("log_message", SLOT_MESSAGE, 19, TEXT_ONLY),
	KEY("logMessage", SLOT_MESSAGE, 20, TEXT_ONLY),
	KEY("LogMessage", SLOT_MESSAGE, 20, TEXT_ONLY),
	KEY("log", SLOT_MESSAGE, 21, TEXT_ONLY),
	KEY("text", SLOT_MESSAGE, 22, TEXT_ONLY),
	KEY("data", SLOT_MESSAGE, 23, TAKES_STRING | TAKES_ARRAY),
	KEY("0", SLOT_MESSAGE, 24, TEXT_ONLY),
	KEY("description", SLOT_MESSAGE, 25, TEXT_ONLY),
	KEY("error.message", SLOT_MESSAGE, 26, TEXT_ONLY),
	KEY("err.message", SLOT_MESSAGE, 27, TEXT_ONLY),
	KEY("exception.message", SLOT_MESSAGE, 28, TEXT_ONLY),
#undef KEY
#undef NUMBERS
#undef WORDS
};

enum { KEYS = sizeof log_keys / sizeof *log_keys };

static inline bool is(const struct log_key *key, struct text name)
{
	return key->name.len == name.len && key->name.s[0] == name.s[0] &&
	       memcmp(key->name.s, name.s, name.len) == 0;
}

const struct log_key *log_key_find(struct text name)
{
	if (name.len == 0 || name.len > LOG_KEY_MAX)
		return NULL;
	for (size_t i = 0; i < KEYS; i++)
		if (is(&log_keys[i], name))
			return &log_keys[i];
	return NULL;
}

bool log_key_leads(struct text name)
{
	for (size_t i = SLOTS; i < KEYS; i++)
		if (log_keys[i].name.len > name.len + 1 && log_keys[i].name.s[name.len] == '.' &&
		    memcmp(log_keys[i].name.s, name.s, name.len) == 0)
			return true;
	return false;
}

void log_key_print(FILE *out)
{
	static const char *const columns[SLOTS] = { "timestamp", "level", "logger", "message", "context" };

	fputs("| column | names, the most trusted first |\n|---|---|\n", out);
	for (enum log_slot slot = 0; slot < SLOTS; slot++) {
		const char *between = "";

		fprintf(out, "| `%s` | ", columns[slot]);
		for (size_t i = 0; i < KEYS; i++)
			if (log_keys[i].slot == slot) {
				fprintf(out, "%s`%s`", between, log_keys[i].name.s);
				between = ", ";
			}
		fputs(" |\n", out);
	}
}
