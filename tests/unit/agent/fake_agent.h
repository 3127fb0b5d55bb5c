/*
 * fake_agent.h - an agent that only keeps the samples of its sources, so that one
 * source can be tested on a real event loop without the rest.
 */
#ifndef TESTS_FAKE_AGENT_H
#define TESTS_FAKE_AGENT_H

#include "obs_agent/agent.h"
#include "common/clock.h"

#include <sys/resource.h>
#include <time.h>

enum { KEPT_MAX = 8192 };

struct kept {
	struct sample s;
	int64_t mono_us;                /* when the source added it */
	char *text[2];                  /* copies of the sample's texts */
};

struct agent {
	sd_event *loop;
	struct config config;
	struct kept kept[KEPT_MAX];
	size_t n;
	int64_t latest_us;              /* of the longest time away from the loop: see away_us() */
};

sd_event *agent_loop(struct agent *a)
{
	return a->loop;
}

const struct config *agent_config(struct agent *a)
{
	return &a->config;
}

struct logcore *agent_log(struct agent *a)
{
	(void)a;
	return NULL;
}

static struct text keep_text(struct text t, char **own)
{
	*own = t.s ? strndup(t.s, t.len) : NULL;
	return (struct text){ *own, t.len };
}

bool agent_add(struct agent *a, const struct sample *s)
{
	struct kept *k = &a->kept[a->n];

	if (a->n == KEPT_MAX)
		abort();
	a->n++;
	*k = (struct kept){ .s = *s, .mono_us = mono_us() };
	if (s->kind == SAMPLE_METRICS)
		k->s.metrics.details = keep_text(s->metrics.details, &k->text[0]);
	if (s->kind == SAMPLE_CHECK) {
		k->s.check.url = keep_text(s->check.url, &k->text[0]);
		k->s.check.error_message = keep_text(s->check.error_message, &k->text[1]);
	}
	return true;
}

void agent_tell_state(struct agent *a)
{
	(void)a;
}

bool agent_set_position(struct agent *a, const struct position *p)
{
	(void)a;
	(void)p;
	return true;
}

static void agent_forget(struct agent *a)
{
	for (size_t i = 0; i < a->n; i++) {
		free(a->kept[i].text[0]);
		free(a->kept[i].text[1]);
	}
	a->n = 0;
}

static void agent_begin(struct agent *a)
{
	memset(a, 0, sizeof *a);
	if (sd_event_new(&a->loop) < 0)
		abort();
}

static void agent_end(struct agent *a)
{
	agent_forget(a);
	a->loop = sd_event_unref(a->loop);
}

/* ---- how long this thread is away ------------------------------------------------------------ */

struct away {
	int64_t wall_us, cpu_us;
	long waits;
};

static struct away away_now(void)
{
	struct rusage usage;
	struct timespec cpu;

	getrusage(RUSAGE_THREAD, &usage);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	return (struct away){ mono_us(), cpu.tv_sec * US_PER_S + cpu.tv_nsec / 1000, usage.ru_nvcsw };
}

/* How long it computed, or the whole time where it waited of its own accord: not how long the
 * machine kept the processor from it. */
static int64_t away_us(const struct away *since)
{
	struct away now = away_now();

	return now.waits == since->waits ? now.cpu_us - since->cpu_us : now.wall_us - since->wall_us;
}

static void dispatch(struct agent *a)
{
	struct away before = away_now();
	int64_t us;

	sd_event_dispatch(a->loop);
	us = away_us(&before);
	if (us > a->latest_us)
		a->latest_us = us;
}

/* Run the loop until there are n samples, for at most that long; when the time is over what is
 * due already is still done, unless there is no end of it. Notes the longest round. */
static bool loop_until(struct agent *a, size_t n, int64_t at_most_us)
{
	int64_t end = mono_us() + at_most_us;

	for (int over = 0; a->n < n && over < 100;) {
		int64_t left = end - mono_us();

		over += left <= 0;
		if (sd_event_prepare(a->loop) > 0 ||
		    sd_event_wait(a->loop, (uint64_t)(left > 0 ? left : 0)) > 0)
			dispatch(a);
		else if (left <= 0)
			break;
	}
	return a->n >= n;
}

#endif
