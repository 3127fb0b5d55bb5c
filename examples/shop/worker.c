#include "shop.h"

static const char *const jobs[] = { "send_receipts", "reindex_products", "drop_old_carts", "sync_stock" };

/* What the dice are thrown for; other numbers than those of pages.c. */
enum { PAUSE = 100, WHICH, DURATION, ITEMS, TROUBLE };

/* One job: at most three attempts. False when the shop is closing. */
static bool run(struct shop *s, struct logcore *log, uint64_t n)
{
	const char *name = jobs[shop_dice(s, WHICH, n, sizeof jobs / sizeof *jobs)];
	struct logcore *job = logcore_child(log, NULL, logcore_kv("job", name), logcore_kv("job_id", n));
	bool open = true;

	logcore_debug(job, "Job started");
	for (int attempt = 1; open && attempt <= 3; attempt++) {
		int64_t ms = 40 + (int64_t)shop_dice(s, DURATION, n * 3 + (uint64_t)attempt, 400);

		open = shop_sleep(s, ms);
		if (shop_dice(s, TROUBLE, n * 3 + (uint64_t)attempt, 100) >= 8) {
			logcore_info(job, "Job done", logcore_kv("ms", ms), logcore_kv("attempt", attempt),
				     logcore_kv("items", shop_dice(s, ITEMS, n, 500)));
			break;
		}
		if (attempt < 3)
			logcore_warning(job, "Job failed, trying again", logcore_kv("attempt", attempt),
					logcore_kv("error", "lock wait timeout"));
		else
			logcore_error(job, "Job given up", logcore_kv("attempts", attempt));
	}
	logcore_close(job);
	return open;
}

void *shop_worker(void *shop)
{
	struct shop *s = shop;
	struct logcore *log = logcore_child(s->log, "worker");

	for (uint64_t n = 1; shop_sleep(s, 500 + (int64_t)shop_dice(s, PAUSE, n, 2500)); n++)
		if (!run(s, log, n))
			break;
	logcore_close(log);
	return NULL;
}
