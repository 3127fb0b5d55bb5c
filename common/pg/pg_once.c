#include "pg_once.h"

#include <errno.h>

#include "common/cleanup.h"
#include "pg_tls.h"
#include "pg_message.h"
#include "pg_verdict.h"

void pg_once_close_p(PGconn **c)
{
	PQfinish(*c);
	*c = NULL;
}

void pg_once_clear_p(PGresult **r)
{
	PQclear(*r);
	*r = NULL;
}

PGconn *pg_once_open(const char *url, const char *password, const char *command, struct err *e)
{
	const struct pg_tls tls = pg_tls_for_url(url);
	/* What has no value is left out; what comes behind dbname overrides it. */
	const char *const keys[] = { "connect_timeout", "fallback_application_name", "gssencmode", "target_session_attrs",
				     "dbname", "password", "sslmode", "sslrootcert", NULL };
	const char *const values[] = { "10", command, "disable", "read-write", url, password, tls.mode, tls.root, NULL };
	CLEANUP(pg_once_close_p) PGconn *conn = PQconnectdbParams(keys, values, 1);
	char error[500];
	const char *hint;

	if (PQstatus(conn) == CONNECTION_OK)
		return TAKE_PTR(conn);
	pg_one_line(PQerrorMessage(conn), error, sizeof error);
	hint = pg_tls_hint(error);
	err_set(e, ENOTCONN, "%s; %s", error, hint ? hint : "check host, port, user and password in the URL, and pg_hba.conf");
	return NULL;
}
