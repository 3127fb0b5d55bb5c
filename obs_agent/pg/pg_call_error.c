#include "pg_call_error.h"

#include <errno.h>
#include <stdio.h>

#include "common/pg/pg_message.h"

void pg_call_error_begin(struct pg_call_error *f)
{
	f->e.code = 0;
	f->sqlstate[0] = '\0';
	f->verdict = PG_RETRY;
}

void pg_call_error_note(struct pg_call_error *f, const char *state, const char *msg)
{
	const struct pg_judgement judgement = pg_judge(state);
	const char *hint = judgement.hint;

	if (f->e.code)
		return;
	f->verdict = judgement.verdict;
	snprintf(f->sqlstate, sizeof f->sqlstate, "%s", state ? state : "");
	err_set(&f->e, EPROTO, "%s (SQLSTATE %s)%s%s", msg, state ? state : "unknown", hint ? "; " : "",
		hint ? hint : "");
}

void pg_call_error_of_result(struct pg_call_error *f, const PGresult *r)
{
	const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	char msg[ERR_MSG_MAX / 2];

	pg_one_line(primary ? primary : PQresultErrorMessage(r), msg, sizeof msg);
	pg_call_error_note(f, PQresultErrorField(r, PG_DIAG_SQLSTATE), msg);
}

void pg_call_error_odd_answer(struct pg_call_error *f, const char *what)
{
	err_set(&f->e, EPROTO, "%s: out of memory, or another kind of answer", what);
}
