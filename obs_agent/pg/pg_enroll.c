/*
 * pg_enroll.c - a server that has a token makes its own login.
 */
#include <errno.h>
#include <libpq-fe.h>

#include "common/cleanup.h"
#include "common/embed.h"
#include "pg_enroll.h"
#include "common/pg/pg_open.h"
#include "common/pg/pg_message.h"
#include "common/pg/pg_verdict.h"

EMBED(sql_enroll, "obs_agent/sql/enroll.sql");

int pg_enroll(const char *url, const char *password, const char *server, FILE *out, struct err *e)
{
	const struct pg_manner manner = {
		.application = "obs_agent enroll", .password = password, .timeout_s = 10, .writes = true
	};
	CLEANUP(pg_close_p) PGconn *conn = pg_open(url, &manner, e);
	CLEANUP(pg_clear_p) PGresult *r = NULL;
	const char *hint;
	char error[500];

	if (!conn)
		return -e->code;
	r = PQexecParams(conn, sql_enroll, 1, NULL, &server, NULL, NULL, 0);
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		hint = PQresultErrorField(r, PG_DIAG_MESSAGE_HINT);
		pg_one_line(hint ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : PQerrorMessage(conn),
			    error, sizeof error);
		return err_set(e, EACCES, "%s%s%s", error, hint ? ". " : "", hint ? hint : "");
	}
	fprintf(out, "%s:%s\n", PQgetvalue(r, 0, 0), PQgetvalue(r, 0, 1));
	return fflush(out) == 0 ? 0 : err_set(e, errno, "the login that was made could not be printed");
}
