#include "notify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "common/clock.h"

enum {
	REFRESH_S = 30,                 /* the figures are so old at most while batches are committed, ... */
	EVERY_S = 90,                   /* ... and while none is: longer than usual between two */
	SOONEST_S = 1,                  /* after the words before */
};

struct notify {
	sd_event_source *timer;
	notify_words_fn words;
	void *data;
	char said[NOTIFY_WORDS_SIZE];
	int64_t said_us;                /* monotonic */
	int64_t next_us;                /* monotonic: when the timer fires */
};

static int say_at(struct notify *n, int64_t at_us)
{
	n->next_us = at_us;
	return sd_event_source_set_time(n->timer, (uint64_t)at_us);
}

/* Text that is known wakes systemd for nothing. */
static int say(struct notify *n)
{
	char words[NOTIFY_WORDS_SIZE];

	n->words(n->data, words, sizeof words);
	if (strcmp(words, n->said) != 0)
		sd_notifyf(0, "STATUS=%s", words);
	memcpy(n->said, words, sizeof words);
	n->said_us = mono_us();
	return say_at(n, n->said_us + EVERY_S * US_PER_S);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *data)
{
	(void)s;
	(void)usec;
	return say(data);
}

void notify_refresh(struct notify *n)
{
	if (n && mono_us() - n->said_us >= REFRESH_S * US_PER_S)
		(void)say(n);
}

void notify_changed(struct notify *n)
{
	int64_t soonest = n ? n->said_us + SOONEST_S * US_PER_S : 0;

	if (n && n->next_us > soonest)
		(void)say_at(n, soonest);
}

int notify_new(sd_event *loop, notify_words_fn words, void *data, struct notify **ret, struct err *e)
{
	struct notify *n;
	int r;

	*ret = NULL;
	if (!getenv("NOTIFY_SOCKET"))
		return 0;
	n = calloc(1, sizeof *n);
	if (!n)
		return err_set(e, ENOMEM, "out of memory for the unit's status");
	*n = (struct notify){ .words = words, .data = data, .said_us = mono_us() };
	n->next_us = n->said_us + SOONEST_S * US_PER_S;
	r = sd_event_add_time(loop, &n->timer, CLOCK_MONOTONIC, (uint64_t)n->next_us, 100 * US_PER_MS,
			      on_timer, n);
	if (r >= 0)
		r = sd_event_source_set_enabled(n->timer, SD_EVENT_ON);
	if (r < 0) {
		notify_free(n);
		return err_set(e, -r, "cannot make a timer: %s", strerror(-r));
	}
	*ret = n;
	return 0;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	sd_event_source_disable_unref(n->timer);
	free(n);
}
