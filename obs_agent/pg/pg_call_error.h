/*
 * pg_call_error.h - why the database refused a call.
 *
 * Owns the first error of a call, which is the cause: later ones follow from it. Promises one sentence, and
 * what the error means for the next attempt. Leaves out what follows from that (pg.c), and connections that
 * were lost.
 */
#ifndef OBS_AGENT_PG_CALL_ERROR_H
#define OBS_AGENT_PG_CALL_ERROR_H

#include <libpq-fe.h>

#include "common/err.h"
#include "common/pg/pg_verdict.h"

struct pg_call_error {
	struct err e;                   /* code 0: nothing was refused yet */
	char sqlstate[6];               /* "": the server gave none */
	enum pg_verdict verdict;
};

/* A new call: nothing is refused. */
void pg_call_error_begin(struct pg_call_error *f);

/* Note a refusal with this SQLSTATE (NULL: unknown) and message, in one line. */
void pg_call_error_note(struct pg_call_error *f, const char *state, const char *msg);
void pg_call_error_of_result(struct pg_call_error *f, const PGresult *r);

/* The answer to `what` can't be read. */
void pg_call_error_odd_answer(struct pg_call_error *f, const char *what);

#endif
