#include "db.h"

#include <errno.h>
#include <libpq-fe.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "common/pg/pg_open.h"
#include "common/pg/pg_tls.h"
#include "common/pg/pg_verdict.h"

enum { CONNECT_SECONDS = 3, ADDRESS_SIZE = 64, RATE_SIZE = 64, DETAIL_MAX = 64 * 1024 };

struct db {
	char *url;
	PGconn *conn;
	bool open, write;               /* a transaction, and whether it may write */
	int timeout_ms;                 /* its limit for a statement */
	char address[ADDRESS_SIZE];
	char rate[RATE_SIZE];
	struct buf detail;
};

struct db *db_new(const char *url)
{
	struct db *db = calloc(1, sizeof *db);

	if (db)
		db->detail = BUF(DETAIL_MAX);
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
	pg_close_p(&db->conn);
	db->open = false;
}

void db_free(struct db *db)
{
	if (!db)
		return;
	disconnect(db);
	buf_free(&db->detail);
	free(db->url);
	free(db);
}

void db_set_address(struct db *db, const char *address)
{
	size_t n = strlen(address);

	/* It becomes part of a statement. */
	if (n >= sizeof db->address || strspn(address, "0123456789abcdefABCDEF.:") != n)
		n = 0;
	memcpy(db->address, address, n);
	db->address[n] = '\0';
}

const char *db_detail(const struct db *db)
{
	return db->detail.len ? db->detail.data : "";
}

const char *db_rate(const struct db *db)
{
	return db->rate;
}

/* ---- saying what is wrong ----------------------------------------------------------------- */

/* In the hub's words. */
static enum db_failure judge(const char *state)
{
	static const enum db_failure failures[PG_CAUSES] = {
		[PG_CAUSE_OTHER] = DB_FAILED,       [PG_CAUSE_SERVER] = DB_AWAY,
		[PG_CAUSE_TIME_LIMIT] = DB_TIMEOUT, [PG_CAUSE_LOGIN] = DB_DENIED,
		[PG_CAUSE_RIGHT] = DB_DENIED,       [PG_CAUSE_SCHEMA] = DB_SCHEMA,
	};

	return failures[pg_judge(state).cause];
}

/* libpq's sentences name host, user and database, never the password; they go to the web
 * server's log, not to the page. What an address said may be quoted in them. */
static void tell_log(const char *sentence)
{
	fprintf(stderr, "%s: ", program_invocation_short_name);
	for (; *sentence && *sentence != '\n'; sentence++)
		fputc((unsigned char)*sentence < 0x20 ? '?' : *sentence, stderr);
	fputc('\n', stderr);
}

/* OB404 and its like: functions of the schema refuse with the status of HTTP. 0: it is another state. */
static int refused_status(const char *state)
{
	uint64_t status;

	if (!state || strncmp(state, "OB4", 3) != 0 || !parse_u64(text_of(state + 2), &status))
		return 0;
	return (int)status;
}

static enum db_failure refused(struct db *db, const PGresult *result, int status, struct err *e)
{
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	buf_reset(&db->detail);
	if (detail && (!buf_adds(&db->detail, detail) || !buf_cstr(&db->detail)))
		buf_reset(&db->detail);
	err_set(e, status, "%s", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
	return DB_REFUSED;
}

static enum db_failure query_failed(struct db *db, const PGresult *result, struct err *e)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	int status = refused_status(state);

	if (status)
		return refused(db, result, status, e);
	tell_log(result ? PQresultErrorMessage(result) : PQerrorMessage(db->conn));
	if (db->write && state && strncmp(state, "22", 2) == 0) {
		buf_reset(&db->detail);
		err_set(e, 422, "The request has a value that the database can't take.");
		return DB_REFUSED;
	}
	err_set(e, EIO, "%s", state ? state : "connection lost");
	return judge(state);
}

/* ---- connecting --------------------------------------------------------------------------------- */

/* Words without letters make to_tsquery() remark upon them: no news for the log. */
static void be_quiet(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static enum db_failure connect_now(struct db *db, struct err *e)
{
	static const struct pg_manner manner = { .application = "fleet_hub", .timeout_s = CONNECT_SECONDS };
	char weakness[PG_TLS_SENTENCE_SIZE];

	if (!db->url)
		return DB_NO_URL;
	if (pg_tls_weakness(db->url, weakness))
		tell_log(weakness);
	db->conn = pg_open(db->url, &manner, e);
	if (!db->conn) {
		tell_log(e->msg);
		return e->code == EINVAL ? DB_BAD_URL : e->code == EACCES ? DB_DENIED : DB_AWAY;
	}
	PQsetNoticeProcessor(db->conn, be_quiet, NULL);
	return DB_OK;
}

/* ---- asking ---------------------------------------------------------------------------------------- */

/* Session settings would not survive a pooler in transaction mode: all is local. JIT
 * costs more than any question of ours takes. */
static enum db_failure begin(struct db *db, bool write, int timeout_ms, struct err *e)
{
	CLEANUP(pg_clear_p) PGresult *result = NULL;
	char sql[384];

	snprintf(sql, sizeof sql,
		 "BEGIN %s; SET LOCAL statement_timeout = %d; SET LOCAL jit = off; "
		 "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL search_path = observ, "
		 "pg_catalog; SET LOCAL observ.address = '%s'",
		 write ? "READ WRITE" : "READ ONLY", timeout_ms, db->address);
	result = PQexec(db->conn, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return query_failed(db, result, e);
	db->open = true;
	db->write = write;
	db->timeout_ms = timeout_ms;
	return DB_OK;
}

static enum db_failure keep_value(const PGresult *result, struct buf *out, struct err *e)
{
	if (PQntuples(result) != 1 || PQnfields(result) != 1) {
		err_set(e, EPROTO, "the answer is not one value");
		return DB_FAILED;
	}
	if (!buf_add(out, PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0))) {
		err_set(e, EFBIG, "the database's answer of %d bytes is larger than the limit of %zu",
			PQgetlength(result, 0, 0), out->max);
		tell_log(e->msg);
		return DB_TOO_BIG;
	}
	return DB_OK;
}

/* Without a right to the schema its tables look as if they did not exist. */
static enum db_failure missing_or_closed(struct db *db)
{
	const char *sql = "SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'observ' "
			  "AND NOT has_schema_privilege(oid, 'USAGE')";
	CLEANUP(pg_clear_p) PGresult *result = PQexec(db->conn, sql);

	return PQntuples(result) == 1 ? DB_DENIED : DB_SCHEMA;
}

/* A kept connection may have died meanwhile: connect anew, once. */
static enum db_failure open_transaction(struct db *db, bool write, int timeout_ms, struct err *e)
{
	bool kept = db->conn != NULL;
	enum db_failure failure = kept ? DB_OK : connect_now(db, e);

	if (failure == DB_OK)
		failure = begin(db, write, timeout_ms, e);
	if (failure != DB_AWAY || !kept)
		return failure;
	disconnect(db);
	failure = connect_now(db, e);
	return failure == DB_OK ? begin(db, write, timeout_ms, e) : failure;
}

/* What is not committed is undone; a connection that is not as it was goes. */
static enum db_failure close_transaction(struct db *db, enum db_failure failure)
{
	db->open = false;
	if (!db->conn)
		return failure;
	if (PQtransactionStatus(db->conn) != PQTRANS_IDLE)
		PQclear(PQexec(db->conn, "ROLLBACK"));
	if (failure == DB_SCHEMA)
		failure = missing_or_closed(db);
	if (PQstatus(db->conn) != CONNECTION_OK || PQtransactionStatus(db->conn) != PQTRANS_IDLE)
		disconnect(db);
	return failure;
}

static PGresult *ask(struct db *db, const char *sql, const struct db_question *q)
{
	return PQexecParams(db->conn, sql, (int)q->n_params, NULL, q->params, NULL, NULL, 0);
}

/* The one that is open, where it will do. */
static enum db_failure need_transaction(struct db *db, bool write, int timeout_ms, struct err *e)
{
	CLEANUP(pg_clear_p) PGresult *result = NULL;
	char sql[64];

	if (db->open && write && !db->write)
		close_transaction(db, DB_OK);
	if (!db->open)
		return open_transaction(db, write, timeout_ms, e);
	if (db->timeout_ms == timeout_ms)
		return DB_OK;
	snprintf(sql, sizeof sql, "SET LOCAL statement_timeout = %d", timeout_ms);
	result = PQexec(db->conn, sql);
	db->timeout_ms = timeout_ms;
	return PQresultStatus(result) == PGRES_COMMAND_OK ? DB_OK : query_failed(db, result, e);
}

enum db_failure db_begin_change(struct db *db, int timeout_ms, struct err *e)
{
	enum db_failure failure = need_transaction(db, true, timeout_ms, e);

	return failure ? close_transaction(db, failure) : DB_OK;
}

void db_end(struct db *db)
{
	if (db->open)
		close_transaction(db, DB_OK);
}

enum db_failure db_ask(struct db *db, const struct db_question *q, struct buf *out, struct err *e)
{
	CLEANUP(pg_clear_p) PGresult *result = NULL;
	enum db_failure failure = need_transaction(db, db->open && db->write, q->timeout_ms, e);

	if (failure == DB_OK) {
		result = ask(db, q->sql, q);
		failure = PQresultStatus(result) == PGRES_TUPLES_OK ? keep_value(result, out, e)
								    : query_failed(db, result, e);
	}
	return failure ? close_transaction(db, failure) : DB_OK;
}

/* take() leaves what the limit allows in a setting, which goes with the transaction. */
static enum db_failure commit(struct db *db, struct err *e)
{
	enum db_failure failure = DB_OK;
	PGresult *result;

	db->rate[0] = '\0';
	if (!PQsendQuery(db->conn, "SELECT current_setting('observ.rate', true); COMMIT"))
		return query_failed(db, NULL, e);
	while ((result = PQgetResult(db->conn))) {
		ExecStatusType status = PQresultStatus(result);

		if (status == PGRES_TUPLES_OK)
			snprintf(db->rate, sizeof db->rate, "%s", PQgetvalue(result, 0, 0));
		else if (status != PGRES_COMMAND_OK)
			failure = query_failed(db, result, e);
		PQclear(result);
	}
	return failure;
}

enum db_failure db_change(struct db *db, const struct db_question *q, struct buf *out, struct err *e)
{
	CLEANUP(pg_clear_p) PGresult *result = NULL;
	enum db_failure failure = need_transaction(db, true, q->timeout_ms, e);

	if (failure == DB_OK) {
		result = ask(db, q->sql, q);
		failure = PQresultStatus(result) == PGRES_TUPLES_OK ? commit(db, e)
								    : query_failed(db, result, e);
	}
	if (failure == DB_OK)
		failure = keep_value(result, out, e);
	return close_transaction(db, failure);
}

/* ---- rows, as they come ------------------------------------------------------------------------------ */

/* The function that takes the rows, and how far it is. */
struct rows {
	db_row *row;
	void *ctx;
	bool stopped;                   /* it wants no more */
	size_t fetched;                 /* by the last FETCH */
};

/* How a value goes into JSON and CSV; the numbers are PostgreSQL's own, for ever. */
static enum db_kind kind_of(Oid type)
{
	enum { INT8 = 20, INT2 = 21, INT4 = 23, FLOAT4 = 700, FLOAT8 = 701, NUMERIC = 1700 };
	enum { JSON = 114, JSONB = 3802 };

	switch (type) {
	case INT8: case INT2: case INT4: case FLOAT4: case FLOAT8: case NUMERIC:
		return DB_NUMBER;
	case JSON: case JSONB:
		return DB_JSON;
	default:
		return DB_TEXT;
	}
}

static void hand_over(struct rows *rows, const PGresult *result)
{
	struct db_cell cell[DB_COLUMNS_MAX];
	int n = PQnfields(result) < DB_COLUMNS_MAX ? PQnfields(result) : DB_COLUMNS_MAX;

	for (int i = 0; i < n; i++) {
		bool null = PQgetisnull(result, 0, i);

		cell[i].name = PQfname(result, i);
		cell[i].kind = kind_of(PQftype(result, i));
		cell[i].value = (struct text){ null ? NULL : PQgetvalue(result, 0, i),
					       (size_t)PQgetlength(result, 0, i) };
	}
	rows->stopped = !rows->row(rows->ctx, cell, (size_t)n);
}

/* The next rows of the cursor, of which one at a time is in memory. */
static enum db_failure fetch(struct db *db, struct rows *rows, struct err *e)
{
	enum db_failure failure = DB_OK;
	PGresult *result;

	rows->fetched = 0;
	if (!PQsendQuery(db->conn, "FETCH FORWARD 200 FROM found") || !PQsetSingleRowMode(db->conn))
		return query_failed(db, NULL, e);
	while ((result = PQgetResult(db->conn))) {
		ExecStatusType status = PQresultStatus(result);

		if (status == PGRES_SINGLE_TUPLE) {
			rows->fetched++;
			if (!rows->stopped)
				hand_over(rows, result);
		} else if (status != PGRES_TUPLES_OK) {
			failure = query_failed(db, result, e);
		}
		PQclear(result);
	}
	return failure;
}

/* A cursor, so that each part has the time limit to itself; planned for reading all of it. */
static enum db_failure declare(struct db *db, const struct db_question *q, struct err *e)
{
	CLEANUP(pg_clear_p) PGresult *setting = NULL, *result = NULL;
	CLEANUP(buf_free) struct buf text = BUF(strlen(q->sql) + 64);

	if (!buf_adds(&text, "DECLARE found NO SCROLL CURSOR FOR ") || !buf_adds(&text, q->sql) ||
	    !buf_cstr(&text)) {
		err_set(e, ENOMEM, "out of memory");
		return DB_FAILED;
	}
	setting = PQexec(db->conn, "SET LOCAL cursor_tuple_fraction = 1");
	if (PQresultStatus(setting) != PGRES_COMMAND_OK)
		return query_failed(db, setting, e);
	result = ask(db, text.data, q);
	return PQresultStatus(result) == PGRES_COMMAND_OK ? DB_OK : query_failed(db, result, e);
}

enum db_failure db_rows(struct db *db, const struct db_question *q, db_row *row, void *ctx, struct err *e)
{
	struct rows rows = { .row = row, .ctx = ctx };
	enum db_failure failure = need_transaction(db, false, q->timeout_ms, e);

	if (failure == DB_OK)
		failure = declare(db, q, e);
	do {
		if (failure == DB_OK)
			failure = fetch(db, &rows, e);
	} while (failure == DB_OK && rows.fetched && !rows.stopped);
	return close_transaction(db, failure);
}
