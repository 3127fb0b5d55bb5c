/*
 * source.h - something that makes samples. Each kind is one src_*.c with one
 * exported symbol, a row in the table in agent.c.
 */
#ifndef OBS_AGENT_SOURCE_H
#define OBS_AGENT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "wire/batch.h"

struct agent;

/* The agent's thread makes all calls, from its loop. None may block. A source owns its state; positions and
 * batches are the caller's, and live during the call. */
struct source {
	const char *name;               /* also the key in `status`, and the `source` of its positions */

	/* Start: add timers and descriptors to agent_loop(). *ret_state is passed to all other
	 * calls. A source that has nothing to do sets it to NULL and is not called again.
	 * Below 0: it failed, and e says why. */
	int (*start)(struct agent *a, void **ret_state, struct err *e);

	/* The configuration has changed (agent_config() is the new one). NULL: the source is stopped
	 * and started. */
	void (*reload)(void *state);

	/* positions: after a connect, the source goes on reading from these, which the database holds.
	 * False: it could not take them. committed: the database has committed this batch.
	 * NULL: not needed. */
	bool (*positions)(void *state, const struct position *p, size_t n);
	void (*committed)(void *state, const struct batch *b);

	/* Resume: the batch takes samples again after agent_add() or agent_set_position() returned
	 * false. NULL: nothing of this source is ever refused. */
	void (*resume)(void *state);

	/* Do one round, for --once. Called until it returns true: the round is complete. */
	bool (*once)(void *state);

	/* Append a JSON object with the source's state, for `obs_agent status` and the database.
	 * False: there was no memory for it. */
	bool (*status)(void *state, struct buf *out);

	void (*stop)(void *state);      /* frees the state */
};

extern const struct source src_proc;
extern const struct source src_check;
extern const struct source src_tail;

#endif
