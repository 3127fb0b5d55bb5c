/*
 * The shortest program that logs. With the library installed:
 *	cc quickstart.c $(pkg-config --cflags --libs logcore) -o quickstart && ./quickstart
 */
#include <logcore.h>

int main(void)
{
	struct logcore *log = logcore_open(&(struct logcore_options){ .name = "quickstart" }, NULL, 0);

	logcore_info(log, "User action", logcore_kv("user_id", 123), logcore_kv("action", "login"));
	logcore_close(log);
	return 0;
}
