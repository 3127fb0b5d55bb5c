/*
 * logcore.c - logcore, used as in an application.
 */
#include "logcore.h"

#ifdef LOGCORE_HAS_MODES
#define BENCH_CASES "logcore-direct", "logcore-buffered", "logcore-async"
#else
#define BENCH_CASES "logcore-direct"
#endif
#include "driver.h"

static struct logcore *shop;

static int bench_open(int which, const char *path)
{
	struct logcore_options options = { .name = LOGGER, .path = path, .ignore_environment = true };

#ifdef LOGCORE_HAS_MODES
	static const enum logcore_mode modes[] = { LOGCORE_DIRECT, LOGCORE_BUFFERED, LOGCORE_ASYNC };

	options.mode = modes[which];
	options.block_when_full = true;
#else
	(void)which;
#endif
	shop = logcore_open(&options, NULL, 0);
	return shop ? 0 : -1;
}

static void bench_line(int thread, struct order o)
{
	(void)thread;
	logcore_info(shop, MESSAGE, logcore_kv("order", o.number), logcore_kv("user", o.user),
		     logcore_kv("ms", o.ms));
}

static void bench_below(struct order o)
{
	logcore_debug(shop, MESSAGE, logcore_kv("order", o.number), logcore_kv("user", o.user),
		      logcore_kv("ms", o.ms));
}

static void bench_close(void)
{
	logcore_close(shop);
}
