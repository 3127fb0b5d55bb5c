/*
 * pg_verdict.h - what a failure means for the agent (a table of SQLSTATEs), and
 * how long to wait after it.
 */
#ifndef COMMON_PG_VERDICT_H
#define COMMON_PG_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why a connection or a batch failed, as far as it changes what is done next. */
enum pg_verdict {
	PG_RETRY,                       /* the server is away or busy: soon again */
	PG_BUSY,                        /* the server has no connection left: later, and not all at once */
	PG_WAIT,                        /* rights, disk, schema: somebody must mend it; each minute */
	PG_FENCED,                      /* another agent has this identity: give up */
	PG_MOVED,                       /* positions or sequence are not what we thought: ask again */
	PG_DATA,                        /* the server refuses a value in the batch */
	PG_TOO_MUCH,                    /* the batch is more than the server can do at once */
};

/* The verdict on an SQLSTATE (NULL: none was given), and what a person should do
 * about it, or NULL. */
enum pg_verdict pg_judge(const char *state, const char **ret_hint);

/* The SQLSTATE in what libpq says, verbosely, of a connection that the server refused
 * ("...: FATAL:  28P01: ..."), written to `ret`; NULL: there is none. */
const char *pg_state_in(const char *msg, char ret[6]);

/* Does a server refuse the sign-in, by the words of libpq's message? It gives no SQLSTATE then. */
bool pg_is_denial(const char *message);

/* A whole random number from 0 to below `limit`; 0 when that is not positive. */
int64_t pg_random_below(int64_t limit);

/* How long to wait before the next attempt: exponential with full jitter, by what
 * kind of failure it was. `failures` came before this one since the last commit;
 * slow: it ran into its deadline. */
int64_t pg_backoff_us(enum pg_verdict verdict, bool slow, int failures);

#endif
