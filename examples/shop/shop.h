/*
 * shop.h - a pretend shop: something to watch.
 *
 * A small HTTP server on loopback whose pages are sometimes slow and sometimes
 * fail, a worker that does pretend jobs, and a traffic generator that visits the
 * pages. What happens when is decided by the seed. Everything is logged by logcore.
 */
#ifndef SHOP_H
#define SHOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <logcore.h>

struct shop {
	struct logcore *log;
	uint64_t seed;
	int port;                       /* 0 becomes the one that the system chose */
	int traffic;                    /* requests a second that the shop makes to itself */
	int incident_every_s;           /* one incident in each such span; 0: none */
	int listener;
	int64_t started_ms;             /* monotonic */
	_Atomic uint64_t requests;      /* so far; numbers them */
	pthread_mutex_t lock;           /* of what follows */
	pthread_cond_t wake;
	bool stop;
};

/* ---- main.c ---- */

/* Milliseconds that never go back. */
int64_t now_ms(void);

/* Sleep; false when the shop is closing (at once, if it closes meanwhile). */
bool shop_sleep(struct shop *s, int64_t ms);

/* A number below `below` that depends on the seed, `what` and `n` only. */
uint64_t shop_dice(const struct shop *s, uint64_t what, uint64_t n, uint64_t below);

/* ---- http.c ---- */

/* Open the port; 0, or -errno. */
int http_listen(struct shop *s);

/* Thread: answer requests until the shop closes. Several may run. */
void *http_serve(void *shop);

/* Thread: visit our own pages. Several share the work. */
enum { TRAFFIC_THREADS = 3 };
void *http_traffic(void *shop);

/* ---- pages.c ---- */

struct page {
	int status;
	const char *type;
	char body[1024];
};

/* Whether the payment provider is "down" now. */
bool shop_incident(const struct shop *s);

/* Make the page at `path`; `log` carries the request's fields. */
void shop_page(struct shop *s, struct logcore *log, uint64_t request, const char *path, struct page *ret);

/* ---- worker.c ---- */

/* Thread: do pretend jobs. */
void *shop_worker(void *shop);

#endif
