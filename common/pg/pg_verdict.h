/*
 * pg_verdict.h - what a failure means: the one table of SQLSTATEs, for every program.
 *
 * Owns what the agent does about a failure and how long it waits, what the cause is, and the hint for the
 * person who has to act. Leaves out the words of each program for a cause.
 */
#ifndef COMMON_PG_VERDICT_H
#define COMMON_PG_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* Why a connection or a batch failed, as far as it changes what the agent does next. */
enum pg_verdict {
	PG_RETRY,                       /* the server is away or busy: soon again */
	PG_BUSY,                        /* the server has no connection left: later, and not all at once */
	PG_WAIT,                        /* rights, disk, schema: somebody must fix it; each minute */
	/* of a batch: */
	PG_FENCED,                      /* another agent has this identity: give up */
	PG_MOVED,                       /* positions or sequence are not what we thought: ask again */
	PG_DATA,                        /* the server refuses a value in the batch */
	PG_TOO_MUCH,                    /* the batch is more than the server can do at once */
};

/* What is wrong, as far as it changes what a person does. */
enum pg_cause {
	PG_CAUSE_OTHER,                 /* the statement or its values */
	PG_CAUSE_SERVER,                /* away, starting, full, or a standby */
	PG_CAUSE_TIME_LIMIT,            /* the statement took too long, and was cancelled */
	PG_CAUSE_LOGIN,                 /* user, password, pg_hba.conf */
	PG_CAUSE_RIGHT,                 /* the role may not do this */
	PG_CAUSE_SCHEMA,                /* database, schema or function missing, or of another version */
	PG_CAUSES
};

struct pg_judgement {
	enum pg_verdict verdict;
	enum pg_cause cause;
	const char *hint;               /* what a person should do about it, or NULL */
};

/* `state` is an SQLSTATE; NULL: the server gave none. */
struct pg_judgement pg_judge(const char *state);

struct pg_refusal {
	char state[6];                  /* "": the server gave none */
	struct pg_judgement judgement;  /* never of a batch: the server has not proved its identity */
	bool denied;                    /* the server refuses this login, or has no such database */
	char sentence[ERR_MSG_MAX];     /* what libpq says, on one line, with the hint */
};

/* Judge what libpq says, verbosely (PQERRORS_VERBOSE), of a connection that failed:
 * "...: FATAL:  28P01: ...". */
void pg_judge_refusal(const char *message, struct pg_refusal *ret);

/* A whole random number from 0 to below `limit`; 0 when that is not positive. */
int64_t pg_random_below(int64_t limit);

/* How long to wait before the next attempt: exponential with full jitter, by what
 * kind of failure it was. `failures` came before this one since the last commit;
 * slow: it ran into its deadline. */
int64_t pg_backoff_us(enum pg_verdict verdict, bool slow, int failures);

#endif
