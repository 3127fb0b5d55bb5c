/* A strict C11 program that includes the header first and uses no extension. */
#include "logcore/logcore.h"

void c11_log(struct logcore *log);
void c11_log(struct logcore *log)
{
	char buffer[] = "buffer";
	const unsigned short number = 7;
	const struct timespec at = { 0, 1000 };
	bool ok = true;
	struct logcore *child = logcore_child(log, "child", logcore_kv("bound", 1), logcore_kv("to", "it"));
	struct logcore *plain = logcore_child(log, "child");

	logcore_info(child, "fields", logcore_kv("int", -1), logcore_kv("unsigned", 2u),
		     logcore_kv("long", 3L), logcore_kv("char", (char)'c'), logcore_kv("short", number),
		     logcore_kv("bool", ok), logcore_kv("double", 1.5), logcore_kv("float", 0.1f),
		     logcore_kv("literal", "text"), logcore_kv("array", buffer),
		     logcore_kv("null", (const char *)NULL), logcore_kv("nothing", NULL),
		     logcore_kv_strn("part", "partial", 4));
	if (ok)
		logcore_log(plain, LOGCORE_ERROR, "no fields");
	else
		logcore_critical(plain, "a statement like any other");
	logcore_info(child, "more", logcore_kv_hex("hex", buffer, 2), logcore_kv_time("time", at),
		     logcore_kv("same", at), logcore_kv_duration("ms", 1500000),
		     logcore_kv_json("json", "[1, 2]", 6), logcore_kv_errno(2), logcore_kv_source());
	logcore_info(child, "trace", logcore_kv_backtrace());
	logcore_close(child);
	logcore_close(plain);
}
