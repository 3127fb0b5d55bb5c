#include "export.h"

#include "common/cleanup.h"
#include "common/utf8.h"
#include "fleet_hub/http/csv.h"

enum {
	PIECE = 64 * 1024,              /* bytes that are sent at once */
	PLACE_MAX = 16 * 1024,          /* of a row: its time, id and server */
};

struct export {
	struct response *s;
	const struct export_kind *kind;
	struct buf out;                 /* what was not sent yet */
	struct buf part;                /* of a JSON string */
	struct buf place;               /* of the last row: where the next file goes on */
	size_t rows, columns;
	uint64_t bytes;
	bool gone;                      /* nobody takes the rest */
	bool more;                      /* the limit was hit */
	bool names_only;                /* the row has a note, and no values */
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

/* ---- JSON ------------------------------------------------------------------------------- */

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
	return ok && puts_text(x, x->kind->form == EXPORT_LIST ? "}" : "}\n");
}

/* The beginning of the list says its limit, so that it stands in each file. */
static bool begin_list(struct export *x)
{
	char head[160];

	snprintf(head, sizeof head, "{\"limit\":{\"rows\":%d,\"bytes\":%d},\"%s\":[", EXPORT_ROWS_MAX,
		 EXPORT_BYTES_MAX, x->kind->list);
	return puts_text(x, head);
}

static bool end_list(struct export *x, const char *note)
{
	char tail[64];

	snprintf(tail, sizeof tail, "\n],\"count\":%zu,\"complete\":%s", x->rows, *note ? "false" : "true");
	return puts_text(x, tail) &&
	       (!*note || (puts_text(x, ",\"note\":") && put_json_string(x, text_of(note)))) &&
	       puts_text(x, "}\n");
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
	return x->kind->form == EXPORT_CSV ? put_csv_names(x, cell, n)
	       : x->kind->form == EXPORT_LIST ? begin_list(x) : true;
}

static bool put_row(void *to, const struct db_cell *cell, size_t n)
{
	struct export *x = to;

	if (!x->s->begun && !begin(x, cell, n))
		return false;
	if (x->names_only)
		return true;
	x->rows++;
	if (x->kind->form == EXPORT_CSV)
		return put_csv_row(x, cell, n);
	if (x->kind->form == EXPORT_LIST && !puts_text(x, x->rows > 1 ? ",\n" : "\n"))
		return false;
	return put_json_row(x, cell, n);
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

/* TIMESTAMP,ID,SERVER of a log line. */
static void remember_place(struct export *x, const struct db_cell *cell, size_t n)
{
	static const char *const parts[] = { "timestamp", "id", "vps" };
	bool ok = true;

	buf_reset(&x->place);
	for (size_t k = 0; k < sizeof parts / sizeof parts[0] && ok; k++) {
		size_t i = 0;

		while (i < n && strcmp(cell[i].name, parts[k]) != 0)
			i++;
		ok = i < n && (k == 0 || buf_addc(&x->place, ',')) &&
		     buf_add(&x->place, cell[i].value.s, cell[i].value.len);
	}
	if (!ok)
		buf_reset(&x->place);
}

static bool take_row(void *ctx, const struct db_cell *cell, size_t n)
{
	struct export *x = ctx;
	const struct row_view *view = x->kind->view;

	x->names_only = take_note(x, cell, &n);
	if (!x->names_only) {
		x->more = x->rows == EXPORT_ROWS_MAX || x->bytes >= EXPORT_BYTES_MAX;
		if (x->more)
			return false;
		remember_place(x, cell, n);
	}
	return view && view->row ? view->row(view->ctx, cell, n, put_row, x) : put_row(x, cell, n);
}

/* The last line: {"note": ...}, or a row of which only the first cell is not empty. */
static bool put_note(struct export *x, const char *note)
{
	bool ok;

	if (x->kind->form == EXPORT_NDJSON)
		return puts_text(x, "{\"note\":") && put_json_string(x, text_of(note)) && puts_text(x, "}\n");
	ok = puts_text(x, "\"# ");
	for (const char *c = note; *c && ok; c++)
		ok = puts_text(x, *c == '"' ? "\"\"" : (char[]){ *c, '\0' });
	ok = ok && puts_text(x, "\"");
	for (size_t i = 1; i < x->columns && ok; i++)
		ok = puts_text(x, ",");
	return ok && puts_text(x, "\r\n");
}

/* Why the file is not complete, in `room`; "" for one that is. */
static const char *note_of(const struct export *x, enum db_failure failure, struct buf *room)
{
	if (failure)
		return "Not complete: the database failed on the way. The reason stands in the web server's "
		       "error log.";
	if (!x->more)
		return x->note;
	buf_addf(room, "Not complete: a file ends after %d rows or %d MiB, and there are more.",
		 EXPORT_ROWS_MAX, EXPORT_BYTES_MAX / 1024 / 1024);
	if (x->place.len) {
		buf_adds(room, " The next file: before=");
		buf_add(room, x->place.data, x->place.len);
	}
	return buf_cstr(room);
}

static void finish(struct export *x, enum db_failure failure)
{
	CLEANUP(buf_free) struct buf room = BUF(PLACE_MAX + 256);
	const char *note = note_of(x, failure, &room);
	bool ok = true;

	if (x->gone)
		return;
	if (x->kind->form == EXPORT_LIST)
		ok = end_list(x, note);
	else if (*note)
		ok = put_note(x, note);
	if (ok)
		flush(x);
}

static void export_free(struct export *x)
{
	buf_free(&x->out);
	buf_free(&x->part);
	buf_free(&x->place);
}

enum db_failure export_rows(struct db *db, const struct db_question *q, const struct export_kind *kind,
			    struct response *s, struct err *e)
{
	CLEANUP(export_free) struct export x = {
		.s = s, .kind = kind, .out = BUF(PIECE), .part = BUF(PIECE), .place = BUF(PLACE_MAX),
	};
	enum db_failure failure = db_rows(db, q, take_row, &x, e);

	if (failure && !s->begun)
		return failure;
	if (s->begun || begin(&x, NULL, 0))
		finish(&x, failure);
	return DB_OK;
}
