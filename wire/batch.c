#include "batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "row_json.h"

enum {
	COLUMN_BYTES_MAX = 8 << 20,     /* one column of log rows, hostile bytes included */
	ARRAY_HEADER = 20,              /* dimensions, null flag, type, length, lower bound */
};

/* PostgreSQL's type numbers (catalog/pg_type.dat; fixed for ever). */
enum { OID_INT8 = 20, OID_INT2 = 21, OID_TEXT = 25, OID_TIMESTAMPTZ = 1184, OID_JSONB = 3802 };

/* Microseconds between PostgreSQL's epoch, 2000-01-01, and 1970-01-01. */
static const int64_t PG_EPOCH_US = INT64_C(946684800000000);

static const uint32_t column_types[LOG_COLUMNS] = {
	[COL_STREAM] = OID_INT2,        [COL_OFFSET] = OID_INT8,        [COL_TIMESTAMP] = OID_TIMESTAMPTZ,
	[COL_LEVEL] = OID_INT2,         [COL_LOGGER] = OID_TEXT,        [COL_MESSAGE] = OID_TEXT,
	[COL_CONTEXT] = OID_JSONB,
};

void batch_init(struct batch *b)
{
	*b = (struct batch){ .seq = 0 };
	for (int i = 0; i < SAMPLE_KIND_COUNT; i++)
		b->json[i] = BUF(BATCH_ROWS_BYTES_MAX);
	for (int i = 0; i < LOG_COLUMNS; i++)
		b->log[i] = (struct column){ .elem_oid = column_types[i], .data = BUF(COLUMN_BYTES_MAX) };
}

void batch_free(struct batch *b)
{
	for (int i = 0; i < SAMPLE_KIND_COUNT; i++)
		buf_free(&b->json[i]);
	for (int i = 0; i < LOG_COLUMNS; i++)
		buf_free(&b->log[i].data);
	free(b->positions);
}

void batch_reset(struct batch *b)
{
	for (int i = 0; i < LOG_COLUMNS; i++) {
		buf_reset(&b->log[i].data);
		b->log[i].has_null = false;
	}
	for (int i = 0; i < SAMPLE_KIND_COUNT; i++) {
		buf_reset(&b->json[i]);
		b->n[i] = 0;
	}
	b->json_bytes = b->n_records = b->n_own = b->log_bytes = b->n_positions = 0;
	b->n_samples = 0;
	b->seq = 0;
}

/* A stream that is only known, and not read on, has nothing to commit. */
static bool moved(const struct position *p)
{
	return p->to != p->from || p->finished || p->begins;
}

bool batch_empty(const struct batch *b)
{
	for (size_t i = 0; i < b->n_positions; i++)
		if (moved(&b->positions[i]))
			return false;
	return batch_all_rows(b) == 0;
}

bool batch_full(const struct batch *b)
{
	return b->n[SAMPLE_LOG] >= BATCH_LOG_ROWS_MAX || b->log_bytes >= BATCH_LOG_BYTES_MAX ||
	       batch_full_of_records(b);
}

bool batch_full_of_records(const struct batch *b)
{
	return b->json_bytes >= BATCH_RECORD_BYTES_MAX;
}

size_t batch_rows(const struct batch *b)
{
	return b->n[SAMPLE_LOG] + b->n_records;
}

size_t batch_rows_and_rejects(const struct batch *b)
{
	return batch_rows(b) + b->n[SAMPLE_REJECT];
}

size_t batch_all_rows(const struct batch *b)
{
	size_t n = 0;

	for (int i = 0; i < SAMPLE_KIND_COUNT; i++)
		n += b->n[i];
	return n;
}

/* ---- rows of JSON ---- */

/* Begin a row; `mark` is where to cut if it does not fit. */
static bool open_row(struct batch *b, enum sample_kind kind, int64_t timestamp_us, size_t *ret_mark)
{
	struct buf *to = &b->json[kind];

	*ret_mark = to->len;
	return (to->len == 0 || buf_addc(to, ',')) && buf_addf(to, "[%lld", (long long)timestamp_us);
}

static bool close_row(struct batch *b, enum sample_kind kind, bool ok, size_t mark)
{
	struct buf *to = &b->json[kind];

	assert(mark <= to->len);
	if (ok && buf_addc(to, ']')) {
		b->n[kind]++;
		b->json_bytes += to->len - mark;
		return true;
	}
	to->len = mark;
	return false;
}

/* A row of a kind that is not measured. */
static bool add_row(struct batch *b, const struct sample *s)
{
	size_t mark;
	bool ok = open_row(b, s->kind, s->timestamp_us, &mark) && row_add(&b->json[s->kind], s);

	assert(!row_kinds[s->kind].measured);
	return close_row(b, s->kind, ok, mark);
}

static bool add_reject(struct batch *b, int64_t timestamp_us, struct text raw)
{
	const struct poison *p = b->poison;
	const struct sample s = { .kind = SAMPLE_REJECT, .timestamp_us = timestamp_us,
				  .reject = { .stream_id = p->stream_id, .offset = p->offset,
					      .sqlstate = p->sqlstate, .reason = p->reason, .raw = raw } };

	return add_row(b, &s);
}

static bool is_poison(const struct batch *b, int64_t stream_id, int64_t offset)
{
	return b->poison && b->poison->offset == offset && b->poison->stream_id == stream_id;
}

/* Where the first of its rows comes from. */
static void note_first(struct batch *b, int64_t stream_id, int64_t offset)
{
	assert(batch_rows(b) > 0);
	if (batch_rows(b) == 1) {
		b->first_stream = stream_id;
		b->first_offset = offset;
	}
}

bool batch_add_record(struct batch *b, const struct record *r, int64_t stream_id, int64_t offset)
{
	bool measured = row_kinds[r->kind].measured, ok;
	struct buf *to = &b->json[r->kind];
	size_t mark;

	if (is_poison(b, stream_id, offset)) {
		ok = add_reject(b, r->timestamp_us, r->row);
		b->n_samples += ok && measured;
		return ok;
	}
	ok = open_row(b, r->kind, r->timestamp_us, &mark) && (!measured || row_add_bool(to, r->late)) &&
	     buf_add(to, r->row.s, r->row.len);
	if (!close_row(b, r->kind, ok, mark))
		return false;
	b->n_records++;
	b->n_samples += measured;
	note_first(b, stream_id, offset);
	return true;
}

/* ---- log columns ---- */

/* Room for one element of n bytes, its length already written. */
static char *element(struct column *c, size_t n)
{
	uint32_t len = __builtin_bswap32((uint32_t)n);
	char *to;

	if (c->data.len == 0 && !buf_add(&c->data, (char[ARRAY_HEADER]){ 0 }, ARRAY_HEADER))
		return NULL;
	to = buf_room(&c->data, sizeof len + n);
	if (!to)
		return NULL;
	memcpy(to, &len, sizeof len);
	c->data.len += sizeof len + n;
	return to + sizeof len;
}

static bool put_null(struct column *c)
{
	bool ok = c->data.len > 0 || buf_add(&c->data, (char[ARRAY_HEADER]){ 0 }, ARRAY_HEADER);

	c->has_null = true;
	return ok && buf_add_be32(&c->data, UINT32_MAX);
}

static bool put_i16(struct column *c, int16_t v)
{
	uint16_t be = __builtin_bswap16((uint16_t)v);
	char *to = element(c, sizeof be);

	return to && memcpy(to, &be, sizeof be);
}

static bool put_i64(struct column *c, int64_t v)
{
	uint64_t be = __builtin_bswap64((uint64_t)v);
	char *to = element(c, sizeof be);

	return to && memcpy(to, &be, sizeof be);
}

static bool put_text(struct column *c, struct text t)
{
	char *to;

	if (!t.s)
		return put_null(c);
	to = element(c, t.len);
	return to && (t.len == 0 || memcpy(to, t.s, t.len));
}

/* jsonb's binary form is a version, 1, and the text. */
static bool put_jsonb(struct column *c, struct text t)
{
	char *to;

	if (!t.s)
		return put_null(c);
	to = element(c, t.len + 1);
	if (!to)
		return false;
	*to = 1;
	return memcpy(to + 1, t.s, t.len);
}

/* Index from 1 of a stream among those of this batch, 0 when it is not there. */
static size_t stream_index(struct batch *b, int64_t stream_id)
{
	if (b->recent < b->n_positions && b->positions[b->recent].stream_id == stream_id)
		return b->recent + 1;
	for (size_t i = b->n_positions; i > 0; i--)
		if (b->positions[i - 1].stream_id == stream_id) {
			b->recent = i - 1;
			return i;
		}
	return 0;
}

static bool may_hold_one_more(struct batch *b)
{
	size_t cap = b->positions_cap ? 2 * b->positions_cap : 8;
	struct position *grown;

	if (b->n_positions < b->positions_cap)
		return true;
	grown = reallocarray(b->positions, cap, sizeof *grown);
	if (!grown)
		return false;
	b->positions = grown;
	b->positions_cap = cap;
	return true;
}

static bool add_log(struct batch *b, const struct sample *s)
{
	const struct log_sample *l = &s->log;
	size_t bytes = l->logger.len + l->message.len + l->context.len, mark[LOG_COLUMNS];
	size_t stream = stream_index(b, l->stream_id);

	if (stream == 0 || batch_full(b) ||
	    (b->n[SAMPLE_LOG] > 0 && b->log_bytes + bytes > BATCH_LOG_BYTES_MAX))
		return false;
	if (is_poison(b, l->stream_id, l->offset))
		return add_reject(b, s->timestamp_us, l->raw);
	for (int i = 0; i < LOG_COLUMNS; i++)
		mark[i] = b->log[i].data.len;
	if (put_i16(&b->log[COL_STREAM], (int16_t)stream) && put_i64(&b->log[COL_OFFSET], l->offset) &&
	    put_i64(&b->log[COL_TIMESTAMP], s->timestamp_us - PG_EPOCH_US) &&
	    put_i16(&b->log[COL_LEVEL], (int16_t)l->level) && put_text(&b->log[COL_LOGGER], l->logger) &&
	    put_text(&b->log[COL_MESSAGE], l->message) && put_jsonb(&b->log[COL_CONTEXT], l->context)) {
		b->n[SAMPLE_LOG]++;
		b->n_own += l->own;
		b->log_bytes += bytes;
		note_first(b, l->stream_id, l->offset);
		return true;
	}
	for (int i = 0; i < LOG_COLUMNS; i++)
		b->log[i].data.len = mark[i];
	return false;
}

bool batch_add(struct batch *b, const struct sample *s)
{
	return s->kind == SAMPLE_LOG ? add_log(b, s) : add_row(b, s);
}

bool batch_set_position(struct batch *b, const struct position *p)
{
	bool of_a_source = *p->file_id || (*p->source && strcmp(p->source, SOURCE_OUTBOX) != 0);
	size_t max = of_a_source ? BATCH_STREAMS_MAX - BATCH_STREAMS_SPARE : BATCH_STREAMS_MAX;
	size_t i = stream_index(b, p->stream_id);
	int64_t from;
	bool begins;

	assert(b->n_positions <= BATCH_STREAMS_MAX);
	if (i == 0) {
		if (b->n_positions >= max || !may_hold_one_more(b))
			return false;
		b->positions[b->n_positions++] = *p;
		return true;
	}
	from = b->positions[i - 1].from;
	begins = b->positions[i - 1].begins;
	b->positions[i - 1] = *p;
	b->positions[i - 1].from = from;
	b->positions[i - 1].begins = begins;
	return true;
}

/* ---- for the wire ---- */

struct text column_array(struct column *c, size_t n)
{
	const uint32_t header[] = { 1, c->has_null, c->elem_oid, (uint32_t)n, 1 };

	/* each element has a length */
	assert(n > 0 && c->data.len >= ARRAY_HEADER + n * sizeof(uint32_t));
	for (size_t i = 0; i < sizeof header / sizeof *header; i++) {
		uint32_t be = __builtin_bswap32(header[i]);

		memcpy(c->data.data + i * sizeof be, &be, sizeof be);
	}
	return (struct text){ c->data.data, c->data.len };
}

bool batch_json(const struct batch *b, struct buf *out)
{
	int last = SAMPLE_KIND_COUNT;
	bool ok = true;

	while (last > 0 && b->json[last - 1].len == 0)
		last--;
	for (int i = 0; i < last; i++) {
		const struct buf *rows = &b->json[i];

		ok = ok && (rows->len == 0 ? buf_adds(out, ",0")
					   : buf_adds(out, ",[") && buf_add(out, rows->data, rows->len) &&
						     buf_addc(out, ']'));
	}
	return ok;
}

/* The database knows a log file's by no name. */
static const char *source_on_the_wire(const struct position *p)
{
	return strcmp(p->source, SOURCE_TAIL) == 0 ? "" : p->source;
}

/* What only some sources have to say of a stream. */
static bool add_description(struct buf *out, const struct position *p)
{
	const char *const texts[] = { p->path, p->file_id, p->head_hash, p->tail_hash, p->cursor };
	size_t n = sizeof texts / sizeof *texts;
	bool ok;

	while (n > 0 && *texts[n - 1] == '\0')
		n--;
	if (n == 0 && !p->finished)
		return true;
	ok = row_add_bool(out, p->finished);
	for (size_t i = 0; i < n; i++)
		ok = ok && row_add_string(out, text_of(texts[i]));
	return ok;
}

static bool position_row(struct buf *out, const struct position *p)
{
	return buf_addf(out, "[%lld,%lld,%lld", (long long)p->stream_id, (long long)p->from,
			(long long)p->to) &&
	       row_add_string(out, text_of(source_on_the_wire(p))) && add_description(out, p) &&
	       buf_addc(out, ']');
}

bool batch_positions(const struct batch *b, struct buf *out)
{
	size_t mark = out->len;
	bool ok = true;

	for (size_t i = 0; i < b->n_positions; i++)
		if (moved(&b->positions[i]))
			ok = ok && buf_addc(out, out->len == mark ? '[' : ',') &&
			     position_row(out, &b->positions[i]);
	return ok && buf_addc(out, out->len == mark ? '0' : ']');
}

bool batch_streams(const struct batch *b, struct buf *out)
{
	struct column ids = { .elem_oid = OID_INT8, .data = BUF(ARRAY_HEADER + 12 * BATCH_STREAMS_MAX) };
	bool ok = true;

	for (size_t i = 0; i < b->n_positions; i++)
		ok = ok && put_i64(&ids, b->positions[i].stream_id);
	if (ok && b->n_positions) {
		struct text t = column_array(&ids, b->n_positions);

		ok = buf_add(out, t.s, t.len);
	}
	buf_free(&ids.data);
	return ok;
}
