/*
 * export.h - the rows of a question as a file, CSV, NDJSON or one JSON object, sent while they come.
 *
 * Owns the response from its first row on. Promises that one row at a time is in memory,
 * that values are whole, and that a file which is not complete says so in its last line:
 * at the limit below, when the database fails on the way, or when the last row has a value
 * in a last column of the name "note", which says why. The JSON object says in its head what
 * the limit is, and at its end whether it is complete.
 */
#ifndef FLEET_HUB_EXPORT_H
#define FLEET_HUB_EXPORT_H

#include "db.h"
#include "fleet_hub/http/http.h"
#include "params.h"

enum {
	EXPORT_ROWS_MAX = 100000,
	EXPORT_BYTES_MAX = 256 * 1024 * 1024,
};

enum export_form { EXPORT_CSV, EXPORT_NDJSON, EXPORT_LIST };

struct export_kind {
	enum export_form form;
	const char *list;               /* the name of an EXPORT_LIST's rows */
	const struct row_view *view;        /* what is shown of each row; NULL: all of it */
};

/* Send the rows of `q`. When it fails before the first row, nothing has been sent (s->begun
 * is false) and the failure is returned; later ones are told in the file, and DB_OK is. */
enum db_failure export_rows(struct db *db, const struct db_question *q, const struct export_kind *kind,
			    struct response *s, struct err *e);

#endif
