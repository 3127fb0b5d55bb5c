#include "db.h"

#include <errno.h>
#include <libpq-fe.h>

#include "common/cleanup.h"

enum { CONNECT_SECONDS = 3 };

struct db {
	char *url;
	PGconn *conn;
};

struct db *db_new(const char *url)
{
	struct db *db = calloc(1, sizeof *db);

	if (!db || !url)
		return db;
	db->url = strdup(url);
	if (!db->url) {
		free(db);
		return NULL;
	}
	return db;
}

static void disconnect(struct db *db)
{
	PQfinish(db->conn);
	db->conn = NULL;
}

void db_free(struct db *db)
{
	if (!db)
		return;
	disconnect(db);
	free(db->url);
	free(db);
}

static void result_p(PGresult **r)
{
	PQclear(*r);
}

/* ---- saying what is wrong ----------------------------------------------------------------- */

static bool in_class(const char *state, const char *classes)
{
	for (; *classes; classes += strcspn(classes, " ") + (strchr(classes, ' ') != NULL))
		if (strncmp(state, classes, strcspn(classes, " ")) == 0)
			return true;
	return false;
}

static enum db_failure judge(const char *state)
{
	if (!state || in_class(state, "08 57P 53 58 25006"))
		return DB_AWAY;
	if (in_class(state, "57014"))
		return DB_TIMEOUT;
	if (in_class(state, "28 42501"))
		return DB_DENIED;
	return in_class(state, "3F000 42P01 42883 42703 3D000") ? DB_SCHEMA : DB_FAILED;
}

/* libpq's sentences name host, user and database, never the password; they go to
 * the web server's log, not to the page. */
static void tell_log(const char *sentence)
{
	fprintf(stderr, "%s: %.*s\n", program_invocation_short_name, (int)strcspn(sentence, "\n"), sentence);
}

static enum db_failure query_failed(struct db *db, const PGresult *result, struct err *e)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	enum db_failure why = PQstatus(db->conn) == CONNECTION_BAD && !state ? DB_AWAY : judge(state);

	tell_log(PQresultErrorMessage(result));
	err_set(e, EIO, "%s", state ? state : "connection lost");
	return why;
}

/* A failed sign-in carries no SQLSTATE in this libpq: the server's words must do. */
static enum db_failure connect_failed(const char *sentence)
{
	static const char *const denied[] = { "authentication", "no password supplied", "pg_hba.conf",
					      "does not exist", "not permitted to log in", "permission denied for" };

	for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++)
		if (strstr(sentence, "FATAL:") && strstr(sentence, denied[i]))
			return DB_DENIED;
	return strstr(sentence, "no password supplied") ? DB_DENIED : DB_AWAY;
}

/* ---- connecting --------------------------------------------------------------------------------- */

static enum db_failure check_url(const char *url, struct err *e)
{
	char *why = NULL;
	PQconninfoOption *parsed = PQconninfoParse(url, &why);
	enum db_failure failure = parsed ? DB_OK : DB_BAD_URL;

	/* The reason quotes the string, password and all: nobody gets to see it. */
	PQfreemem(why);
	PQconninfoFree(parsed);
	if (failure)
		err_set(e, EINVAL, "not a connection string");
	return failure;
}

/* Words without letters make to_tsquery() remark upon them: no news for the log. */
static void be_quiet(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static enum db_failure connect_now(struct db *db, struct err *e)
{
	char seconds[12];
	enum db_failure failure = db->url ? check_url(db->url, e) : DB_NO_URL;

	if (failure)
		return failure;
	snprintf(seconds, sizeof seconds, "%d", CONNECT_SECONDS);
	const char *const names[] = { "connect_timeout", "fallback_application_name", "client_encoding", "dbname", NULL };
	const char *const values[] = { seconds, "fleet_hub", "UTF8", db->url, NULL };

	db->conn = PQconnectdbParams(names, values, 1);
	if (!db->conn) {
		err_set(e, ENOMEM, "out of memory");
		return DB_FAILED;
	}
	PQsetNoticeProcessor(db->conn, be_quiet, NULL);
	if (PQstatus(db->conn) == CONNECTION_OK)
		return DB_OK;
	failure = connect_failed(PQerrorMessage(db->conn));
	tell_log(PQerrorMessage(db->conn));
	err_set(e, EIO, "no connection");
	disconnect(db);
	return failure;
}

/* ---- asking ---------------------------------------------------------------------------------------- */

/* Session settings would not survive a pooler in transaction mode: all is local. JIT
 * costs more than any question of ours takes. */
static enum db_failure begin(struct db *db, bool write, int timeout_ms, struct err *e)
{
	CLEANUP(result_p) PGresult *result = NULL;
	char sql[256];

	snprintf(sql, sizeof sql,
		 "BEGIN %s; SET LOCAL statement_timeout = %d; SET LOCAL jit = off; "
		 "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL search_path = observ, pg_catalog",
		 write ? "READ WRITE" : "READ ONLY", timeout_ms);
	result = PQexec(db->conn, sql);
	return PQresultStatus(result) == PGRES_COMMAND_OK ? DB_OK : query_failed(db, result, e);
}

static enum db_failure keep_value(const PGresult *result, struct buf *out, struct err *e)
{
	if (PQntuples(result) != 1 || PQnfields(result) != 1) {
		err_set(e, EPROTO, "the answer is not one value");
		return DB_FAILED;
	}
	if (!buf_add(out, PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0))) {
		err_set(e, EFBIG, "the answer is larger than its limit");
		return DB_FAILED;
	}
	return DB_OK;
}

/* Without a right to the schema its tables look as if they did not exist. */
static enum db_failure missing_or_closed(struct db *db)
{
	CLEANUP(result_p) PGresult *result = PQexec(db->conn, "SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'observ' "
							      "AND NOT has_schema_privilege(oid, 'USAGE')");

	return PQntuples(result) == 1 ? DB_DENIED : DB_SCHEMA;
}

static enum db_failure ask_once(struct db *db, const char *sql, size_t n, const char *const *params,
				int timeout_ms, struct buf *out, struct err *e)
{
	CLEANUP(result_p) PGresult *result = NULL;
	enum db_failure failure = begin(db, false, timeout_ms, e);

	if (failure == DB_OK) {
		result = PQexecParams(db->conn, sql, (int)n, NULL, params, NULL, NULL, 0);
		failure = PQresultStatus(result) == PGRES_TUPLES_OK ? keep_value(result, out, e)
								    : query_failed(db, result, e);
	}
	PQclear(PQexec(db->conn, "ROLLBACK"));
	if (failure == DB_SCHEMA)
		failure = missing_or_closed(db);
	if (PQstatus(db->conn) != CONNECTION_OK || PQtransactionStatus(db->conn) != PQTRANS_IDLE)
		disconnect(db);
	return failure;
}

enum db_failure db_ask(struct db *db, const char *sql, size_t n_params, const char *const *params,
		       int timeout_ms, struct buf *out, struct err *e)
{
	bool kept = db->conn != NULL;
	enum db_failure failure = kept ? DB_OK : connect_now(db, e);

	if (failure == DB_OK)
		failure = ask_once(db, sql, n_params, params, timeout_ms, out, e);
	if (failure == DB_AWAY && kept && !db->conn) {
		failure = connect_now(db, e);
		if (failure == DB_OK)
			failure = ask_once(db, sql, n_params, params, timeout_ms, out, e);
	}
	return failure;
}

static enum db_failure commit(struct db *db, struct err *e)
{
	CLEANUP(result_p) PGresult *result = PQexec(db->conn, "COMMIT");

	return PQresultStatus(result) == PGRES_COMMAND_OK ? DB_OK : query_failed(db, result, e);
}

enum db_failure db_change(struct db *db, const char *sql, size_t n_params, const char *const *params,
			  int timeout_ms, struct buf *out, struct err *e)
{
	CLEANUP(result_p) PGresult *result = NULL;
	enum db_failure failure = connect_now(db, e);

	if (failure == DB_OK)
		failure = begin(db, true, timeout_ms, e);
	if (failure == DB_OK) {
		result = PQexecParams(db->conn, sql, (int)n_params, NULL, params, NULL, NULL, 0);
		failure = PQresultStatus(result) == PGRES_TUPLES_OK ? commit(db, e) : query_failed(db, result, e);
	}
	if (failure == DB_SCHEMA)
		failure = missing_or_closed(db);
	if (failure == DB_OK)
		failure = keep_value(result, out, e);
	disconnect(db);
	return failure;
}
