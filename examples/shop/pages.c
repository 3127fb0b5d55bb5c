#include "shop.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SLOW_MS = 250 };

/* What the dice are thrown for. */
enum { WORK, SLOW, SLOWNESS, FAIL, USER, CART, INCIDENT_START, INCIDENT_LENGTH };

/* In every span there is one incident of 6 to 15 s, not in its first tenth. */
bool shop_incident(const struct shop *s)
{
	int64_t span = (int64_t)s->incident_every_s * 1000, age = now_ms() - s->started_ms;
	uint64_t n;
	int64_t length, begin;

	if (span == 0)
		return false;
	n = (uint64_t)(age / span);
	length = 6000 + (int64_t)shop_dice(s, INCIDENT_LENGTH, n, 9000);
	if (length > span / 2)
		length = span / 2;
	begin = span / 10 + (int64_t)shop_dice(s, INCIDENT_START, n, (uint64_t)(span * 9 / 10 - length + 1));
	return age % span >= begin && age % span < begin + length;
}

__attribute__((format(printf, 4, 5)))
static void answer(struct page *p, int status, const char *type, const char *fmt, ...)
{
	va_list ap;

	p->status = status;
	p->type = type;
	va_start(ap, fmt);
	vsnprintf(p->body, sizeof p->body, fmt, ap);
	va_end(ap);
}

static void health(struct shop *s, struct page *p)
{
	if (shop_incident(s))
		answer(p, 503, "application/json",
		       "{\"status\":\"failing\",\"reason\":\"payments unreachable\"}\n");
	else
		answer(p, 200, "application/json", "{\"status\":\"ok\"}\n");
}

static void front(struct shop *s, struct logcore *log, uint64_t request, struct page *p)
{
	uint64_t user = 1000 + shop_dice(s, USER, request, 200);

	shop_sleep(s, 3 + (int64_t)shop_dice(s, WORK, request, 25));
	logcore_info(log, "User action", logcore_kv("user_id", user), logcore_kv("action", "browse"));
	answer(p, 200, "text/html",
	       "<!DOCTYPE html><title>Shop</title><h1>Shop</h1><a href=\"/checkout\">Buy</a>\n");
}

/* The payment: in an incident more than half of them fail, else one in forty. */
static void checkout(struct shop *s, struct logcore *log, uint64_t request, struct page *p)
{
	uint64_t user = 1000 + shop_dice(s, USER, request, 200);
	double amount = 5 + (double)shop_dice(s, CART, request, 20000) / 100;
	int64_t ms = 15 + (int64_t)shop_dice(s, WORK, request, 60);
	bool fails = shop_dice(s, FAIL, request, 1000) < (shop_incident(s) ? 600 : 25);

	if (shop_dice(s, SLOW, request, 100) < 4)
		ms += 300 + (int64_t)shop_dice(s, SLOWNESS, request, 1200);
	shop_sleep(s, ms);
	if (ms > SLOW_MS)
		logcore_warning(log, "Payment provider is slow", logcore_kv("provider", "paywell"),
				logcore_kv("ms", ms));
	if (fails) {
		logcore_error(log, "Payment failed", logcore_kv("user_id", user),
			      logcore_kv("amount", amount), logcore_kv("provider", "paywell"),
			      logcore_kv("error", "connection reset by peer"));
		answer(p, 500, "text/plain", "The payment failed. You were not charged.\n");
		return;
	}
	logcore_info(log, "User action", logcore_kv("user_id", user), logcore_kv("action", "checkout"),
		     logcore_kv("amount", amount));
	answer(p, 200, "text/plain", "Thank you.\n");
}

void shop_page(struct shop *s, struct logcore *log, uint64_t request, const char *path, struct page *ret)
{
	if (strcmp(path, "/health") == 0)
		health(s, ret);
	else if (strcmp(path, "/") == 0)
		front(s, log, request, ret);
	else if (strcmp(path, "/checkout") == 0)
		checkout(s, log, request, ret);
	else
		answer(ret, 404, "text/plain", "There is no such page.\n");
}
