#include "pg_open.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "pg_message.h"
#include "pg_tls.h"
#include "pg_verdict.h"

void pg_close_p(PGconn **c)
{
	PQfinish(*c);
	*c = NULL;
}

void pg_clear_p(PGresult **r)
{
	PQclear(*r);
	*r = NULL;
}

static int check_string(const char *url, struct err *e)
{
	PQconninfoOption *parsed = PQconninfoParse(url, NULL);
	bool good = parsed;

	PQconninfoFree(parsed);
	if (good)
		return 0;
	return err_set(e, EINVAL, "this is no connection string; write postgresql://USER@HOST/DATABASE");
}

/* A server that refuses gives an SQLSTATE, but libpq passes that on only if asked to be verbose before. Ask
 * such a server again. True: it has changed its mind. */
static bool ask_for_state(PGconn *conn, char room[6], const char **ret_state)
{
	static const char from_server[] = ":  ";        /* libpq itself writes one space */

	*ret_state = NULL;
	if (!strstr(PQerrorMessage(conn), from_server))
		return false;
	PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	PQreset(conn);
	PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
	*ret_state = pg_state_in(PQerrorMessage(conn), room);
	return PQstatus(conn) == CONNECTION_OK;
}

/* The hint is the agent's own: see pg_connect.c. */
static int refused(PGconn *conn, const char *state, struct err *e)
{
	bool denied = pg_is_denial(PQerrorMessage(conn));
	char error[ERR_MSG_MAX];
	const char *hint, *tls;

	pg_one_line(PQerrorMessage(conn), error, sizeof error);
	tls = pg_tls_hint(error);
	pg_judge(state, &hint);
	hint = tls ? tls : hint;
	if (!hint)
		hint = denied ? "check user and password in the URL, and pg_hba.conf"
		       : "check host and port in the URL";
	pg_add_sentence(error, sizeof error, hint);
	return err_set(e, denied ? EACCES : ENOTCONN, "%s", error);
}

PGconn *pg_open(const char *url, const struct pg_manner *m, struct err *e)
{
	const struct pg_tls tls = pg_tls_for_url(url);
	/* What has no value is left out; what comes behind dbname overrides it. */
	const char *const keys[] = { "connect_timeout", "fallback_application_name", "client_encoding",
				     "gssencmode", "target_session_attrs", "dbname", "password", "sslmode",
				     "sslrootcert", NULL };
	const char *const values[] = { m->timeout_s, m->application, "UTF8", "disable",
				       m->writes ? "read-write" : NULL, url, m->password, tls.mode, tls.root,
				       NULL };
	CLEANUP(pg_close_p) PGconn *conn = NULL;
	const char *state;
	char room[6];

	if (check_string(url, e) < 0)
		return NULL;
	conn = PQconnectdbParams(keys, values, 1);
	if (PQstatus(conn) == CONNECTION_OK || ask_for_state(conn, room, &state))
		return TAKE_PTR(conn);
	refused(conn, state, e);
	return NULL;
}
