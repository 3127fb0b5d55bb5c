#include "export.h"

#include "common/cleanup.h"
#include "common/utf8.h"
#include "csv.h"

enum { PIECE = 64 * 1024 };             /* bytes that are sent at once */

struct export {
	struct response *s;
	enum export_form form;
	struct buf out;                 /* what was not sent yet */
	struct buf part;                /* of a JSON string */
	size_t rows, columns;
	uint64_t bytes;
	bool gone;                      /* nobody takes the rest */
	bool more;                      /* the limit was hit */
	char note[256];                 /* what the question says of its rows; "" for nothing */
};

/* ---- bytes ------------------------------------------------------------------------------- */

static bool flush(struct export *x)
{
	x->bytes += x->out.len;
	if (!x->gone && x->out.len && !x->s->write(x->s->to, x->out.data, x->out.len))
		x->gone = true;
	buf_reset(&x->out);
	return !x->gone;
}

static bool put(void *to, const void *bytes, size_t n)
{
	struct export *x = to;

	if (buf_add(&x->out, bytes, n))
		return true;
	if (!flush(x))
		return false;
	if (n <= PIECE)
		return buf_add(&x->out, bytes, n);
	x->bytes += n;
	x->gone = !x->s->write(x->s->to, bytes, n);
	return !x->gone;
}

static bool puts_text(struct export *x, const char *s)
{
	return put(x, s, strlen(s));
}

/* ---- NDJSON ------------------------------------------------------------------------------- */

/* In parts, so that a value of any size needs little room. */
static bool put_json_string(struct export *x, struct text t)
{
	bool ok = puts_text(x, "\"");

	while (ok && t.len) {
		size_t n = utf8_cut(t.s, t.len, PIECE / 8);

		n = n ? n : t.len;
		buf_reset(&x->part);
		ok = buf_add_json_part(&x->part, (struct text){ t.s, n }) &&
		     put(x, x->part.data, x->part.len);
		t.s += n;
		t.len -= n;
	}
	return ok && puts_text(x, "\"");
}

static bool put_json_value(struct export *x, const struct db_cell *cell)
{
	if (!cell->value.s)
		return puts_text(x, "null");
	return cell->kind == DB_TEXT ? put_json_string(x, cell->value)
				     : put(x, cell->value.s, cell->value.len);
}

static bool put_json_row(struct export *x, const struct db_cell *cell, size_t n)
{
	bool ok = true;

	for (size_t i = 0; i < n && ok; i++)
		ok = puts_text(x, i ? "," : "{") && put_json_string(x, text_of(cell[i].name)) &&
		     puts_text(x, ":") && put_json_value(x, &cell[i]);
	return ok && puts_text(x, "}\n");
}

/* ---- CSV ------------------------------------------------------------------------------------ */

static bool put_csv_names(struct export *x, const struct db_cell *cell, size_t n)
{
	bool ok = true;

	for (size_t i = 0; i < n && ok; i++)
		ok = (i == 0 || puts_text(x, ",")) && csv_cell(text_of(cell[i].name), true, put, x);
	return ok && puts_text(x, "\r\n");
}

static bool put_csv_row(struct export *x, const struct db_cell *cell, size_t n)
{
	bool ok = true;

	for (size_t i = 0; i < n && ok; i++)
		ok = (i == 0 || puts_text(x, ",")) &&
		     csv_cell(cell[i].value, cell[i].kind == DB_NUMBER, put, x);
	return ok && puts_text(x, "\r\n");
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool begin(struct export *x, const struct db_cell *cell, size_t n)
{
	x->columns = n;
	if (!response_begin(x->s)) {
		x->gone = true;
		return false;
	}
	return x->form == EXPORT_NDJSON || put_csv_names(x, cell, n);
}

/* A last column of the name "note" is not sent. A row that has one is no other. */
static bool take_note(struct export *x, const struct db_cell *cell, size_t *n)
{
	if (*n == 0 || strcmp(cell[*n - 1].name, "note") != 0)
		return false;
	--*n;
	if (!cell[*n].value.s)
		return false;
	snprintf(x->note, sizeof x->note, "%.*s", (int)cell[*n].value.len, cell[*n].value.s);
	return true;
}

static bool take_row(void *ctx, const struct db_cell *cell, size_t n)
{
	struct export *x = ctx;

	if (take_note(x, cell, &n))
		return x->rows > 0 || begin(x, cell, n);
	x->more = x->rows == EXPORT_ROWS_MAX || x->bytes >= EXPORT_BYTES_MAX;
	if (x->more || (x->rows == 0 && !begin(x, cell, n)))
		return false;
	x->rows++;
	return x->form == EXPORT_CSV ? put_csv_row(x, cell, n) : put_json_row(x, cell, n);
}

/* The last line: {"note": ...}, or a row of which only the first cell is not empty. */
static void put_note(struct export *x, const char *note)
{
	bool ok;

	if (x->form == EXPORT_NDJSON) {
		ok = puts_text(x, "{\"note\":") && put_json_string(x, text_of(note)) && puts_text(x, "}\n");
	} else {
		ok = puts_text(x, "\"# ") && puts_text(x, note) && puts_text(x, "\"");
		for (size_t i = 1; i < x->columns && ok; i++)
			ok = puts_text(x, ",");
		ok = ok && puts_text(x, "\r\n");
	}
	if (!ok)
		x->gone = true;
}

static void finish(struct export *x, enum db_failure failure)
{
	char note[256];

	if (failure && !x->gone) {
		put_note(x, "Not complete: the database failed on the way. The reason stands in the web "
			    "server's error log.");
	} else if (x->more) {
		snprintf(note, sizeof note,
			 "Not complete: a file ends after %d rows or %d MiB, and there are more. Go on with "
			 "before=TIMESTAMP,ID,SERVER of the last row.",
			 EXPORT_ROWS_MAX, EXPORT_BYTES_MAX / 1024 / 1024);
		put_note(x, note);
	} else if (x->note[0]) {
		put_note(x, x->note);
	}
	flush(x);
}

static void export_free(struct export *x)
{
	buf_free(&x->out);
	buf_free(&x->part);
}

enum db_failure export_rows(struct db *db, const struct db_question *q, enum export_form form,
			    struct response *s, struct err *e)
{
	CLEANUP(export_free) struct export x = {
		.s = s, .form = form, .out = BUF(PIECE), .part = BUF(PIECE),
	};
	enum db_failure failure = db_rows(db, q, take_row, &x, e);

	if (failure && !s->begun)
		return failure;
	if (s->begun || response_begin(s))
		finish(&x, failure);
	return DB_OK;
}
