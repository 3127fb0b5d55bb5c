/*
 * pg_call.h - the calls of the contract with schema.sql, for a connection in
 * pipeline mode, and what their answers say. Each returns false when libpq could
 * not queue it (out of memory, connection gone).
 */
#ifndef OBS_AGENT_PG_CALL_H
#define OBS_AGENT_PG_CALL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/batch.h"
#include "obs_agent/config/config.h"

/* Also ends a session of our own that was left behind with our row. `process`: who we are; `epoch`: of our last hello, 0 when
 * there was no answer to one yet. */
bool pg_call_hello(PGconn *conn, const struct config *config, int64_t process, int64_t epoch);
bool pg_call_streams(PGconn *conn, const struct config *config, int64_t epoch);

/* A whole batch; `room` is used for the parameters until the call returns. */
bool pg_call_push(PGconn *conn, const struct config *config, int64_t epoch, struct batch *b, struct text state,
		  struct buf *room);

int64_t pg_number(const PGresult *r, int row, int column);

/* The rows of agent_streams(), to be freed; false: out of memory, or they are none. */
bool pg_read_streams(const PGresult *r, struct position **ret, size_t *ret_n);

#endif
