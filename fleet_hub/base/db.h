/*
 * db.h - the hub's database: one connection, one question at a time.
 *
 * The only door to libpq. The questions of a request run in one transaction with a time limit,
 * which the first of them opens: a read-only one, unless db_begin_change() was called. Promises
 * that the reason of each failure stands in the program's log (stderr), and that neither it nor
 * *e holds a password or the connection string.
 */
#ifndef FLEET_HUB_DB_H
#define FLEET_HUB_DB_H

#include "common/buf.h"
#include "common/err.h"
#include "common/text.h"

enum { DB_PARAMS_MAX = 24, DB_COLUMNS_MAX = 64 };

/* Why there is no answer. The kinds differ in what the operator has to do. */
enum db_failure {
	DB_OK,
	DB_NO_URL,              /* nothing is configured */
	DB_BAD_URL,             /* what is configured is no connection string */
	DB_AWAY,                /* nobody answers, or the connection broke */
	DB_DENIED,              /* the role may not sign in, or not read */
	DB_SCHEMA,              /* schema.sql is missing, or not of this version */
	DB_TIMEOUT,             /* the time limit */
	DB_REFUSED,             /* a function says no: e->code is the status of HTTP, *e the sentence */
	DB_TOO_BIG,             /* the answer is larger than the room for it */
	DB_FAILED,              /* anything else: a fault of ours */
};

struct db;

/* Remember where the database is (copied; NULL: nowhere). Does not connect. NULL when
 * out of memory. */
struct db *db_new(const char *url);
void db_free(struct db *db);

struct db_question {
	const char *sql;
	size_t n_params;
	const char *const *params;      /* as text; NULL is SQL's null */
	int timeout_ms;
};

/*
 * Ask `q` and append its only value, of its only row, to `out`. Connects when there is no connection; when a
 * kept one turns out to be dead it connects anew, once. A failure ends the transaction.
 */
enum db_failure db_ask(struct db *db, const struct db_question *q, struct buf *out, struct err *e);

/* The same in a transaction that may write, committed before the value is appended. It goes on with the
 * one of db_begin_change(). */
enum db_failure db_change(struct db *db, const struct db_question *q, struct buf *out, struct err *e);

/* Open a transaction that may write, for questions before db_change(). */
enum db_failure db_begin_change(struct db *db, int timeout_ms, struct err *e);

/* End the transaction; what was not committed is undone. */
void db_end(struct db *db);

/* Whose request it is: the address that functions note in the audit log. "" for none; kept until the next
 * one. */
void db_set_address(struct db *db, const char *address);

/* After DB_REFUSED, what the function adds to its sentence: JSON, or "". */
const char *db_detail(const struct db *db);

/* After db_change(), what the limit of this kind of call leaves: "limit,rest,seconds", or "". */
const char *db_rate(const struct db *db);

enum db_kind { DB_TEXT, DB_NUMBER, DB_JSON };

struct db_cell {
	const char *name;               /* of the column */
	struct text value;              /* as PostgreSQL writes it; {NULL, 0} for null */
	enum db_kind kind;
};

/* Takes a row, valid during the call; false: no more, please. */
typedef bool db_row(void *ctx, const struct db_cell *cell, size_t n);

/*
 * Ask `q` and hand its rows to `row` as they come, one in memory at a time. The time limit
 * is that of a part of the rows, not of all. After a failure rows may have been handed over.
 */
enum db_failure db_rows(struct db *db, const struct db_question *q, db_row *row, void *ctx, struct err *e);

#endif
