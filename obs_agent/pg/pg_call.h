/* pg_call.h - the agent's calls of functions of schema.sql, on a connection in pipeline mode, and
 * their answers. Each returns false when libpq could not queue it (out of memory, connection lost). */
#ifndef OBS_AGENT_PG_CALL_H
#define OBS_AGENT_PG_CALL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/batch.h"
#include "obs_agent/config/config.h"

/* Also ends a stale session of this agent that still holds the lock on its row. `process` identifies
 * this process; `epoch`: from the last hello, 0 if none was answered yet. */
bool pg_call_hello(PGconn *conn, const struct config *config, int64_t process, int64_t epoch);
bool pg_call_streams(PGconn *conn, const struct config *config, int64_t epoch);

/* Send a whole batch. The call uses `scratch` for parameters. */
bool pg_call_push(PGconn *conn, const struct config *config, int64_t epoch, struct batch *b,
		  struct text state, struct buf *scratch);

int64_t pg_number(const PGresult *r, int row, int column);

/* Read the rows of agent_streams(); the caller frees them. False: out of memory, or another kind of
 * answer. */
bool pg_read_streams(const PGresult *r, struct position **ret, size_t *ret_n);

#endif
