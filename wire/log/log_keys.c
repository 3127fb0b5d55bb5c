#include "log_keys.h"

#include <string.h>

#define ANY (TAKES_STRING | TAKES_NUMBER | TAKES_OBJECT | TAKES_ARRAY | TAKES_WORD)
#define TEXT_ONLY TAKES_STRING
#define STRING_OR_NUMBER (TAKES_STRING | TAKES_NUMBER)

/*
 * The first five are logcore's, in the order in which it writes them. Within a slot the order is
 * the order of trust.
 */
#define LOG_KEYS(K) \
	K("timestamp", SLOT_TIMESTAMP, 0, STRING_OR_NUMBER, LEVELS_ANY) \
	K("level", SLOT_LEVEL, 0, STRING_OR_NUMBER, LEVELS_ANY) \
	K("logger", SLOT_LOGGER, 0, TEXT_ONLY, LEVELS_ANY) \
	K("message", SLOT_MESSAGE, 0, ANY, LEVELS_ANY) \
	K("context", SLOT_CONTEXT, 0, ANY, LEVELS_ANY) \
	\
	K("@timestamp", SLOT_TIMESTAMP, 1, STRING_OR_NUMBER, LEVELS_ANY) \
	K("time", SLOT_TIMESTAMP, 2, STRING_OR_NUMBER, LEVELS_ANY) \
	K("ts", SLOT_TIMESTAMP, 3, STRING_OR_NUMBER, LEVELS_ANY) \
	K("@t", SLOT_TIMESTAMP, 4, STRING_OR_NUMBER, LEVELS_ANY) \
	K("Timestamp", SLOT_TIMESTAMP, 5, STRING_OR_NUMBER, LEVELS_ANY) \
	K("asctime", SLOT_TIMESTAMP, 6, STRING_OR_NUMBER, LEVELS_ANY) \
	K("datetime", SLOT_TIMESTAMP, 7, STRING_OR_NUMBER, LEVELS_ANY) \
	K("timeMillis", SLOT_TIMESTAMP, 8, STRING_OR_NUMBER, LEVELS_ANY) \
	K("instant.epochSecond", SLOT_TIMESTAMP, 9, STRING_OR_NUMBER, LEVELS_ANY) \
	K("t.$date", SLOT_TIMESTAMP, 10, STRING_OR_NUMBER, LEVELS_ANY) \
	K("startTime", SLOT_TIMESTAMP, 11, STRING_OR_NUMBER, LEVELS_ANY) \
	K("timeUnixNano", SLOT_TIMESTAMP, 12, STRING_OR_NUMBER, LEVELS_ANY) \
	K("observedTimeUnixNano", SLOT_TIMESTAMP, 13, STRING_OR_NUMBER, LEVELS_ANY) \
	K("time_unix_nano", SLOT_TIMESTAMP, 14, STRING_OR_NUMBER, LEVELS_ANY) \
	K("record.time.timestamp", SLOT_TIMESTAMP, 15, STRING_OR_NUMBER, LEVELS_ANY) \
	K("datetime.date", SLOT_TIMESTAMP, 16, STRING_OR_NUMBER, LEVELS_ANY) \
	K("_meta.date", SLOT_TIMESTAMP, 17, STRING_OR_NUMBER, LEVELS_ANY) \
	K("ISODATE", SLOT_TIMESTAMP, 18, STRING_OR_NUMBER, LEVELS_ANY) \
	K("ibm_datetime", SLOT_TIMESTAMP, 19, TEXT_ONLY, LEVELS_ANY) \
	K("timestamp.seconds", SLOT_TIMESTAMP, 19, STRING_OR_NUMBER, LEVELS_ANY) \
	K("timestampSeconds", SLOT_TIMESTAMP, 19, STRING_OR_NUMBER, LEVELS_ANY) \
	K("_aws.Timestamp", SLOT_TIMESTAMP, 19, STRING_OR_NUMBER, LEVELS_ANY) \
	K("start_time", SLOT_TIMESTAMP, 19, TEXT_ONLY, LEVELS_ANY) \
	K("requestReceivedTimestamp", SLOT_TIMESTAMP, 19, TEXT_ONLY, LEVELS_ANY) \
	K("timereported", SLOT_TIMESTAMP, 19, STRING_OR_NUMBER, LEVELS_ANY) \
	K("eventTime", SLOT_TIMESTAMP, 20, STRING_OR_NUMBER, LEVELS_ANY) \
	K("event_time", SLOT_TIMESTAMP, 21, STRING_OR_NUMBER, LEVELS_ANY) \
	K("log_time", SLOT_TIMESTAMP, 22, STRING_OR_NUMBER, LEVELS_ANY) \
	K("logTime", SLOT_TIMESTAMP, 23, STRING_OR_NUMBER, LEVELS_ANY) \
	K("time_local", SLOT_TIMESTAMP, 24, STRING_OR_NUMBER, LEVELS_ANY) \
	K("time_iso8601", SLOT_TIMESTAMP, 25, STRING_OR_NUMBER, LEVELS_ANY) \
	K("created_at", SLOT_TIMESTAMP, 26, STRING_OR_NUMBER, LEVELS_ANY) \
	K("created", SLOT_TIMESTAMP, 27, STRING_OR_NUMBER, LEVELS_ANY) \
	K("__REALTIME_TIMESTAMP", SLOT_TIMESTAMP, 28, STRING_OR_NUMBER, LEVELS_ANY) \
	K("_SOURCE_REALTIME_TIMESTAMP", SLOT_TIMESTAMP, 29, STRING_OR_NUMBER, LEVELS_ANY) \
	K("TIMESTAMP", SLOT_TIMESTAMP, 30, STRING_OR_NUMBER, LEVELS_ANY) \
	K("Time", SLOT_TIMESTAMP, 31, STRING_OR_NUMBER, LEVELS_ANY) \
	K("TimeStamp", SLOT_TIMESTAMP, 32, STRING_OR_NUMBER, LEVELS_ANY) \
	K("UNIXTIME", SLOT_TIMESTAMP, 33, STRING_OR_NUMBER, LEVELS_ANY) \
	K("date", SLOT_TIMESTAMP, 34, STRING_OR_NUMBER, LEVELS_ANY) \
	K("DATE", SLOT_TIMESTAMP, 35, STRING_OR_NUMBER, LEVELS_ANY) \
	K("_time", SLOT_TIMESTAMP, 36, STRING_OR_NUMBER, LEVELS_ANY) \
	K("t", SLOT_TIMESTAMP, 37, STRING_OR_NUMBER, LEVELS_ANY) \
	\
	K("log.level", SLOT_LEVEL, 1, STRING_OR_NUMBER, LEVELS_ANY) \
	K("@level", SLOT_LEVEL, 2, STRING_OR_NUMBER, LEVELS_ANY) \
	K("levelname", SLOT_LEVEL, 3, TEXT_ONLY, LEVELS_ANY) \
	K("level_name", SLOT_LEVEL, 4, TEXT_ONLY, LEVELS_ANY) \
	K("levelName", SLOT_LEVEL, 5, TEXT_ONLY, LEVELS_ANY) \
	K("level.levelStr", SLOT_LEVEL, 6, TEXT_ONLY, LEVELS_ANY) \
	K("level.name", SLOT_LEVEL, 7, TEXT_ONLY, LEVELS_ANY) \
	K("record.level.name", SLOT_LEVEL, 8, TEXT_ONLY, LEVELS_ANY) \
	K("severity_text", SLOT_LEVEL, 9, TEXT_ONLY, LEVELS_ANY) \
	K("severityText", SLOT_LEVEL, 10, TEXT_ONLY, LEVELS_ANY) \
	K("SeverityText", SLOT_LEVEL, 11, TEXT_ONLY, LEVELS_ANY) \
	K("severity", SLOT_LEVEL, 12, STRING_OR_NUMBER, LEVELS_ANY) \
	K("error_severity", SLOT_LEVEL, 13, TEXT_ONLY, LEVELS_ANY) \
	K("@l", SLOT_LEVEL, 14, STRING_OR_NUMBER, LEVELS_ANY) \
	K("Level", SLOT_LEVEL, 15, STRING_OR_NUMBER, LEVELS_ANY) \
	K("LogLevel", SLOT_LEVEL, 16, STRING_OR_NUMBER, LEVELS_ANY) \
	K("logLevel", SLOT_LEVEL, 17, STRING_OR_NUMBER, LEVELS_ANY) \
	K("log_level", SLOT_LEVEL, 18, STRING_OR_NUMBER, LEVELS_ANY) \
	K("loglevel", SLOT_LEVEL, 19, STRING_OR_NUMBER, LEVELS_ANY) \
	K("Severity", SLOT_LEVEL, 20, STRING_OR_NUMBER, LEVELS_ANY) \
	K("LEVEL", SLOT_LEVEL, 21, STRING_OR_NUMBER, LEVELS_ANY) \
	K("lvl", SLOT_LEVEL, 22, STRING_OR_NUMBER, LEVELS_ANY) \
	K("_level", SLOT_LEVEL, 22, STRING_OR_NUMBER, LEVELS_ANY) \
	K("_meta.logLevelName", SLOT_LEVEL, 23, TEXT_ONLY, LEVELS_ANY) \
	K("context.logLevel", SLOT_LEVEL, 24, STRING_OR_NUMBER, LEVELS_ANY) \
	K("priority", SLOT_LEVEL, 25, STRING_OR_NUMBER, LEVELS_ANY) \
	K("PRIORITY", SLOT_LEVEL, 26, STRING_OR_NUMBER, LEVELS_ANY) \
	K("syslogseverity-text", SLOT_LEVEL, 27, TEXT_ONLY, LEVELS_ANY) \
	K("syslogseverity", SLOT_LEVEL, 28, STRING_OR_NUMBER, LEVELS_ANY) \
	K("levelno", SLOT_LEVEL, 29, STRING_OR_NUMBER, LEVELS_PYTHON) \
	K("severity_number", SLOT_LEVEL, 30, STRING_OR_NUMBER, LEVELS_OPENTELEMETRY) \
	K("severityNumber", SLOT_LEVEL, 31, STRING_OR_NUMBER, LEVELS_OPENTELEMETRY) \
	K("SeverityNumber", SLOT_LEVEL, 32, STRING_OR_NUMBER, LEVELS_OPENTELEMETRY) \
	K("_meta.logLevelId", SLOT_LEVEL, 33, STRING_OR_NUMBER, LEVELS_TSLOG) \
	K("level_value", SLOT_LEVEL, 34, STRING_OR_NUMBER, LEVELS_ANY) \
	K("label", SLOT_LEVEL, 35, TEXT_ONLY, LEVELS_ANY) \
	K("s", SLOT_LEVEL, 36, TEXT_ONLY, LEVELS_ANY) \
	K("status", SLOT_LEVEL, 37, TEXT_ONLY, LEVELS_NONE) \
	\
	K("log.logger", SLOT_LOGGER, 1, TEXT_ONLY, LEVELS_ANY) \
	K("loggerName", SLOT_LOGGER, 2, TEXT_ONLY, LEVELS_ANY) \
	K("logger_name", SLOT_LOGGER, 3, TEXT_ONLY, LEVELS_ANY) \
	K("SourceContext", SLOT_LOGGER, 4, TEXT_ONLY, LEVELS_ANY) \
	K("Properties.SourceContext", SLOT_LOGGER, 5, TEXT_ONLY, LEVELS_ANY) \
	K("channel", SLOT_LOGGER, 6, TEXT_ONLY, LEVELS_ANY) \
	K("target", SLOT_LOGGER, 7, TEXT_ONLY, LEVELS_ANY) \
	K("Category", SLOT_LOGGER, 8, TEXT_ONLY, LEVELS_ANY) \
	K("categoryName", SLOT_LOGGER, 9, TEXT_ONLY, LEVELS_ANY) \
	K("Logger", SLOT_LOGGER, 10, TEXT_ONLY, LEVELS_ANY) \
	K("LoggerName", SLOT_LOGGER, 11, TEXT_ONLY, LEVELS_ANY) \
	K("@logger", SLOT_LOGGER, 12, TEXT_ONLY, LEVELS_ANY) \
	K("@module", SLOT_LOGGER, 13, TEXT_ONLY, LEVELS_ANY) \
	K("record.name", SLOT_LOGGER, 14, TEXT_ONLY, LEVELS_ANY) \
	K("_meta.name", SLOT_LOGGER, 15, TEXT_ONLY, LEVELS_ANY) \
	K("scope.name", SLOT_LOGGER, 16, TEXT_ONLY, LEVELS_ANY) \
	K("progname", SLOT_LOGGER, 17, TEXT_ONLY, LEVELS_ANY) \
	K("programname", SLOT_LOGGER, 18, TEXT_ONLY, LEVELS_ANY) \
	K("PROGRAM", SLOT_LOGGER, 19, TEXT_ONLY, LEVELS_ANY) \
	K("SYSLOG_IDENTIFIER", SLOT_LOGGER, 20, TEXT_ONLY, LEVELS_ANY) \
	K("syslogtag", SLOT_LOGGER, 21, TEXT_ONLY, LEVELS_ANY) \
	K("component", SLOT_LOGGER, 22, TEXT_ONLY, LEVELS_ANY) \
	K("module", SLOT_LOGGER, 22, TEXT_ONLY, LEVELS_ANY) \
	K("c", SLOT_LOGGER, 22, TEXT_ONLY, LEVELS_ANY) \
	K("source", SLOT_LOGGER, 23, TEXT_ONLY, LEVELS_ANY) \
	K("app", SLOT_LOGGER, 24, TEXT_ONLY, LEVELS_ANY) \
	K("name", SLOT_LOGGER, 25, TEXT_ONLY, LEVELS_ANY) \
	\
	K("msg", SLOT_MESSAGE, 1, ANY, LEVELS_ANY) \
	K("@message", SLOT_MESSAGE, 2, ANY, LEVELS_ANY) \
	K("@m", SLOT_MESSAGE, 3, TEXT_ONLY, LEVELS_ANY) \
	K("RenderedMessage", SLOT_MESSAGE, 4, TEXT_ONLY, LEVELS_ANY) \
	K("short_message", SLOT_MESSAGE, 5, TEXT_ONLY, LEVELS_ANY) \
	K("Message", SLOT_MESSAGE, 6, ANY, LEVELS_ANY) \
	K("MESSAGE", SLOT_MESSAGE, 7, ANY, LEVELS_ANY) \
	K("fields.message", SLOT_MESSAGE, 8, TEXT_ONLY, LEVELS_ANY) \
	K("record.message", SLOT_MESSAGE, 9, TEXT_ONLY, LEVELS_ANY) \
	K("textPayload", SLOT_MESSAGE, 10, TEXT_ONLY, LEVELS_ANY) \
	K("jsonPayload.message", SLOT_MESSAGE, 11, TEXT_ONLY, LEVELS_ANY) \
	K("body", SLOT_MESSAGE, 12, TEXT_ONLY, LEVELS_ANY) \
	K("body.stringValue", SLOT_MESSAGE, 13, TEXT_ONLY, LEVELS_ANY) \
	K("logEvent.message", SLOT_MESSAGE, 13, TEXT_ONLY, LEVELS_ANY) \
	K("_msg", SLOT_MESSAGE, 13, ANY, LEVELS_ANY) \
	K("Body", SLOT_MESSAGE, 14, TEXT_ONLY, LEVELS_ANY) \
	K("event", SLOT_MESSAGE, 15, TEXT_ONLY, LEVELS_ANY) \
	K("@mt", SLOT_MESSAGE, 16, TEXT_ONLY, LEVELS_ANY) \
	K("MessageTemplate", SLOT_MESSAGE, 17, TEXT_ONLY, LEVELS_ANY) \
	K("Msg", SLOT_MESSAGE, 18, TEXT_ONLY, LEVELS_ANY) \
	K("log_message", SLOT_MESSAGE, 19, TEXT_ONLY, LEVELS_ANY) \
	K("logMessage", SLOT_MESSAGE, 20, TEXT_ONLY, LEVELS_ANY) \
	K("LogMessage", SLOT_MESSAGE, 20, TEXT_ONLY, LEVELS_ANY) \
	K("log", SLOT_MESSAGE, 21, TEXT_ONLY, LEVELS_ANY) \
	K("text", SLOT_MESSAGE, 22, TEXT_ONLY, LEVELS_ANY) \
	K("data", SLOT_MESSAGE, 23, TAKES_STRING | TAKES_ARRAY, LEVELS_ANY) \
	K("0", SLOT_MESSAGE, 24, TEXT_ONLY, LEVELS_ANY) \
	K("description", SLOT_MESSAGE, 25, TEXT_ONLY, LEVELS_ANY) \
	K("error.message", SLOT_MESSAGE, 26, TEXT_ONLY, LEVELS_ANY) \
	K("err.message", SLOT_MESSAGE, 27, TEXT_ONLY, LEVELS_ANY) \
	K("exception.message", SLOT_MESSAGE, 28, TEXT_ONLY, LEVELS_ANY)

const struct log_key log_keys[] = {
#define ROW(name, slot, rank, takes, family) { { name, sizeof name - 1 }, slot, rank, takes, family },
	LOG_KEYS(ROW)
#undef ROW
};

enum { KEYS = sizeof log_keys / sizeof *log_keys };

/* A byte that tells most names apart; most fields are nobody's, and their byte is not there. */
#define TAG_OF(first, middle, last, len) ((uint8_t)((first) + 3 * (middle) + 5 * (last) + 7 * (int)(len)))

static const uint8_t tags[KEYS] = {
#define TAG(name, slot, rank, takes, family) \
	TAG_OF((name)[0], (name)[(sizeof name - 1) / 2], (name)[sizeof name - 2], sizeof name - 1),
	LOG_KEYS(TAG)
#undef TAG
};

static inline bool is(const struct log_key *key, struct text name)
{
	return key->name.len == name.len && key->name.s[0] == name.s[0] &&
	       memcmp(key->name.s, name.s, name.len) == 0;
}

const struct log_key *log_key_find(struct text name)
{
	const uint8_t *at = tags, *end = tags + KEYS;
	uint8_t tag;

	if (name.len == 0 || name.len > LOG_KEY_MAX)
		return NULL;
	tag = TAG_OF(name.s[0], name.s[name.len / 2], name.s[name.len - 1], name.len);
	for (; (at = memchr(at, tag, (size_t)(end - at))) != NULL; at++)
		if (is(&log_keys[at - tags], name))
			return &log_keys[at - tags];
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
