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

struct source {
	const char *name;               /* also the key in `status`, and the `source` of its positions */

	/* Start: add timers and descriptors to agent_loop(). *ret_state is passed to all other
	 * calls. A source that has nothing to do sets it to NULL and is not called again. */
	int (*start)(struct agent *a, void **ret_state, struct err *e);

	/* The configuration has changed (agent_config() is the new one). NULL: the source is stopped
	 * and started. */
	void (*reload)(void *state);

	/* The database has told the positions of this source (after a connect), or has committed a
	 * batch. NULL: not needed. */
	bool (*positions)(void *state, const struct position *p, size_t n);
	void (*committed)(void *state, const struct batch *b);

	/* Resume: the batch takes samples again after agent_add() or agent_set_position() returned
	 * false. NULL: nothing of this source is ever refused. */
	void (*resume)(void *state);

	/* Do one round, for --once. Called until it returns true: the round is complete. */
	bool (*once)(void *state);

	/* Append a JSON object with the source's state, for `obs_agent status` and the database. */
	bool (*status)(void *state, struct buf *out);

	void (*stop)(void *state);      /* frees the state */
};

extern const struct source src_proc;
extern const struct source src_check;
extern const struct source src_tail;

#endif
