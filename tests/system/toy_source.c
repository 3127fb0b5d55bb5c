/*
 * toy_source.c - a source that reads on from a cursor, as a journal would: linked in place of src_proc.
 *
 * Its stream has TOY_LINES entries. An entry's number stands for a journal's cursor, "n=7"; the position
 * counts entries and tells no more than that.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/parse.h"
#include "obs_agent/agent.h"
#include "obs_agent/source.h"

enum { STREAM = 4242, EVERY_MS = 5 };

struct toy {
	struct agent *agent;
	sd_event_source *timer;
	int64_t read, end;
	bool known;                     /* the database has told where it stands */
};

static struct position place(const struct toy *t)
{
	struct position p = { .stream_id = STREAM, .from = t->read, .to = t->read, .source = "journal",
			      .path = "toy" };

	snprintf(p.cursor, sizeof p.cursor, "n=%lld", (long long)t->read);
	return p;
}

static bool add_entry(struct toy *t)
{
	char message[64];
	struct position before = place(t), after;
	struct sample s = { .kind = SAMPLE_LOG, .timestamp_us = wall_us(),
			    .log = { .stream_id = STREAM, .offset = t->read, .level = 2,
				     .logger = TEXT("toy") } };

	snprintf(message, sizeof message, "entry %lld", (long long)t->read);
	s.log.message = text_of(message);
	if (!agent_set_position(t->agent, &before) || !agent_add(t->agent, &s))
		return false;
	t->read++;
	after = place(t);
	return agent_set_position(t->agent, &after);
}

static int on_timer(sd_event_source *timer, uint64_t usec, void *data)
{
	struct toy *t = data;

	(void)usec;
	if (t->known && t->read < t->end)
		add_entry(t);
	sd_event_source_set_time_relative(timer, EVERY_MS * US_PER_MS);
	return sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static bool positions(void *state, const struct position *p, size_t n)
{
	struct toy *t = state;

	for (size_t i = 0; i < n; i++)
		if (strcmp(p[i].source, "journal") != 0 || p[i].stream_id != STREAM)
			abort();                /* another source's */
	t->read = 0;
	if (n && !parse_i64(text_of(p[0].cursor + strlen("n=")), &t->read))
		abort();
	t->known = true;
	return true;
}

static int start(struct agent *a, void **ret_state, struct err *e)
{
	struct toy *t = calloc(1, sizeof *t);

	if (!t || !parse_i64(text_of(getenv("TOY_LINES")), &t->end))
		return err_set(e, EINVAL, "TOY_LINES is missing");
	t->agent = a;
	*ret_state = t;
	return sd_event_add_time_relative(agent_loop(a), &t->timer, CLOCK_MONOTONIC, 0, 1, on_timer, t) < 0 ?
	       err_set(e, ENOMEM, "no timer") : 0;
}

static void stop(void *state)
{
	struct toy *t = state;

	sd_event_source_disable_unref(t->timer);
	free(t);
}

const struct source src_proc = { .name = "journal", .start = start, .positions = positions, .stop = stop };
