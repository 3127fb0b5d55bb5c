/*
 * outage.h - since when the database is away, why, and the last time that it was.
 *
 * Logs the errors of the connection: each once, and again after five minutes. Leaves out what is done about
 * it (deliver.h).
 */
#ifndef OBS_AGENT_OUTAGE_H
#define OBS_AGENT_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/pg/pg_verdict.h"
#include "logcore/logcore.h"

/* An outage that is over. */
struct outage_past {
	int64_t since_us, until_us;     /* wall clock; 0: there was none */
	int64_t samples, lost;          /* samples waiting at its end; dropped in it */
};

struct outage {
	int64_t since_us;               /* wall clock, 0: connected */
	int64_t lost_before;            /* samples lost before it */
	int64_t logged_us;              /* monotonic: when the error was logged last */
	struct outage_past last;        /* of 10 s or more */
	char error[ERR_MSG_MAX];        /* "": none since the last commit */
};

/* The connection is lost, or was not made. */
void outage_begin(struct outage *o, enum pg_verdict verdict, const struct err *e, struct logcore *log);

/* Connected. `samples` wait, `lost` were dropped so far. True: it was long enough to be told. */
bool outage_end(struct outage *o, int64_t samples, int64_t lost);

#endif
