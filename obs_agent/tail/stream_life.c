#include "stream_life.h"

#include "common/clock.h"
#include "obs_agent/agent.h"
#include "stream_fields.h"

/*
 *             leads                left                nobody writes          end            commit
 *  ROTATED ──────────▶ FOLLOWED ──────────▶ ROTATED ──────────────▶ OVER ──────────▶ FINISHED ───────▶ freed
 *                        │  │                        ◀──────────────
 *                        │  │ not found, parked         written to
 *                        │  └───────────────▶ MISLAID ─────────────▶ freed: its file is searched for
 *                        │ configuration                 end            commit
 *                        └───────────────▶ DROPPED ──────────▶ LET_GO ───────▶ freed
 *
 * A new stream is ROTATED until a path leads to it.
 */
enum event {
	LEADS,     /* a configured path leads to it */
	LEFT,      /* open, and none does any more */
	NOT_FOUND, /* parked, and not at its path */
	DROPS,     /* the configuration was changed and leads to it no more */
	COMPLETE,  /* it is a copy: nobody writes to it */
	SILENT,    /* nobody writes to it any more */
	WRITTEN,   /* somebody did */
	END,       /* it is read, and its end in a batch */
	PASSED,    /* its end is in a batch, though it was not read */
	LIVES_ON,  /* it is read from where the database stands, or holds another text */
	EVENTS,
};

static const char *const event_names[EVENTS] = {
	"a path leads to it", "no path leads to it", "it is not at its path", "the configuration drops it",
	"it is a copy", "nobody writes to it", "it was written to", "it is read to its end",
	"it is passed over", "it is read on",
};

static const char *const life_names[NEVER] = {
	"rotated", "followed", "dropped", "over", "mislaid", "finished", "let go",
};

/* What follows from an event, by state. */
static const enum stream_life next[EVENTS][NEVER] = {
	/* of          ROTATED   FOLLOWED  DROPPED   OVER      MISLAID   FINISHED  LET_GO */
	[LEADS]     = {FOLLOWED, FOLLOWED, FOLLOWED, FOLLOWED, MISLAID,  FINISHED, LET_GO  },
	[LEFT]      = {NEVER,    ROTATED,  ROTATED,  NEVER,    NEVER,    NEVER,    NEVER   },
	[NOT_FOUND] = {NEVER,    MISLAID,  MISLAID,  NEVER,    NEVER,    NEVER,    NEVER   },
	[DROPS]     = {DROPPED,  DROPPED,  DROPPED,  DROPPED,  NEVER,    NEVER,    NEVER   },
	[COMPLETE]  = {OVER,     OVER,     NEVER,    OVER,     NEVER,    NEVER,    NEVER   },
	[SILENT]    = {OVER,     NEVER,    NEVER,    OVER,     NEVER,    NEVER,    NEVER   },
	[WRITTEN]   = {ROTATED,  FOLLOWED, DROPPED,  ROTATED,  NEVER,    NEVER,    NEVER   },
	[END]       = {NEVER,    NEVER,    LET_GO,   FINISHED, NEVER,    NEVER,    NEVER   },
	[PASSED]    = {FINISHED, FINISHED, LET_GO,   FINISHED, NEVER,    NEVER,    NEVER   },
	[LIVES_ON]  = {ROTATED,  FOLLOWED, DROPPED,  ROTATED,  FOLLOWED, ROTATED,  DROPPED },
};

/* An event that cannot come is a fault of this program. Without the transition the stream is still read and
 * its position still right, so refusing costs less than ending an agent that delivers other files. */
static bool happens(struct stream *s, enum event event)
{
	enum stream_life to = next[event][s->life];

	if (to == NEVER) {
		logcore_error(s->log,
			      "fault of the agent: an event that cannot come to this log file; report it",
			      logcore_kv("path", s->place.path), logcore_kv("state", life_names[s->life]),
			      logcore_kv("event", event_names[event]));
		return false;
	}
	s->life = to;
	return true;
}

enum stream_life stream_life(const struct stream *s)
{
	return s->life;
}

unsigned stream_look(const struct stream *s)
{
	return s->look;
}

void stream_path_leads(struct stream *s, unsigned look)
{
	s->look = look;
	s->at.idle_since_us = mono_us();        /* a rotated file is silent from its rotation on */
	if (!s->copy || s->life != OVER)
		happens(s, LEADS);
}

void stream_path_left(struct stream *s)
{
	s->place.unproven = true;
	happens(s, s->fd < 0 ? NOT_FOUND : LEFT);
}

void stream_mislay(struct stream *s)
{
	happens(s, NOT_FOUND);
}

void stream_drop(struct stream *s)
{
	s->dirty |= happens(s, DROPS);
}

void stream_call_over(struct stream *s)
{
	s->dirty |= happens(s, s->copy ? COMPLETE : SILENT);
}

void stream_was_written(struct stream *s)
{
	if (!s->copy || s->life != OVER)
		happens(s, WRITTEN);
}

void stream_end(struct stream *s)
{
	happens(s, END);
}

void stream_pass_over(struct stream *s)
{
	happens(s, PASSED);
}

void stream_live_on(struct stream *s)
{
	happens(s, LIVES_ON);
}

bool stream_ended(const struct stream *s)
{
	return s->life == FINISHED || s->life == LET_GO;
}
