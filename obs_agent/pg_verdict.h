/*
 * pg_verdict.h - what an SQLSTATE means for the agent: a table.
 */
#ifndef OBS_AGENT_PG_VERDICT_H
#define OBS_AGENT_PG_VERDICT_H

#include <stddef.h>

/* Why a connection or a batch failed, as far as it changes what is done next. */
enum pg_verdict {
	PG_RETRY,                       /* the server is away or busy: soon again */
	PG_WAIT,                        /* rights, disk, schema: somebody must mend it; each minute */
	PG_FENCED,                      /* another agent has this identity: give up */
	PG_MOVED,                       /* positions or sequence are not what we thought: ask again */
	PG_DATA,                        /* the server refuses a value in the batch */
};

/* The verdict on an SQLSTATE (NULL: none was given), and what a person should do
 * about it, or NULL. */
enum pg_verdict pg_judge(const char *state, const char **ret_hint);

/* The server's messages end in a newline and may have several lines: one sentence. */
void pg_one_line(const char *msg, char *out, size_t size);

#endif
