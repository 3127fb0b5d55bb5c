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
	const char *name;               /* also the key in `status` */

	/* Begin: hang timers and descriptors on agent_loop(). *ret_state is handed to
	 * every other call. A source that has nothing to do sets it to NULL and is
	 * not called again. */
	int (*start)(struct agent *a, void **ret_state, struct err *e);

	/* The configuration changed (agent_config() is the new one). NULL: stop and start. */
	void (*reload)(void *state);

	/* The database told its positions (after every connect), or committed a batch.
	 * NULL: not interested. */
	bool (*positions)(void *state, const struct position *p, size_t n);
	void (*committed)(void *state, const struct batch *b);

	/* Go on: the batch takes samples again, after agent_add() or agent_set_position() said
	 * "full". NULL: the source makes nothing that is ever refused. */
	void (*resume)(void *state);

	/* One round now, for --once. Returns true when nothing more is to come. */
	bool (*once)(void *state);

	/* Append a JSON object with the state in figures, for `status`. */
	bool (*status)(void *state, struct buf *out);

	void (*stop)(void *state);      /* frees the state */
};

extern const struct source src_proc;
extern const struct source src_check;
extern const struct source src_tail;

#endif
