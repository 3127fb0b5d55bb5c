#include "batch.h"

#include <math.h>
#include <string.h>

#include "../common/clock.h"

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
	*b = (struct batch){ .metrics = BUF(BATCH_ROWS_BYTES_MAX), .checks = BUF(BATCH_ROWS_BYTES_MAX),
			     .gaps = BUF(BATCH_ROWS_BYTES_MAX) };
	for (int i = 0; i < LOG_COLUMNS; i++)
		b->log[i] = (struct column){ .elem_oid = column_types[i], .data = BUF(COLUMN_BYTES_MAX) };
}

void batch_free(struct batch *b)
{
	buf_free(&b->metrics);
	buf_free(&b->checks);
	buf_free(&b->gaps);
	for (int i = 0; i < LOG_COLUMNS; i++)
		buf_free(&b->log[i].data);
}

void batch_drop_logs(struct batch *b)
{
	for (int i = 0; i < LOG_COLUMNS; i++) {
		buf_reset(&b->log[i].data);
		b->log[i].has_null = false;
	}
	b->n_logs = b->log_bytes = b->n_positions = 0;
}

void batch_reset(struct batch *b)
{
	batch_drop_logs(b);
	buf_reset(&b->metrics);
	buf_reset(&b->checks);
	buf_reset(&b->gaps);
	b->n_metrics = b->n_checks = b->n_gaps = 0;
	b->seq = 0;
}

/* A stream that is only known, and not read on, has nothing to commit. */
static bool moved(const struct position *p)
{
	return p->to != p->from || p->finished;
}

bool batch_empty(const struct batch *b)
{
	for (size_t i = 0; i < b->n_positions; i++)
		if (moved(&b->positions[i]))
			return false;
	return b->n_metrics + b->n_checks + b->n_gaps + b->n_logs == 0;
}

bool batch_full(const struct batch *b)
{
	return b->n_logs >= BATCH_LOG_ROWS_MAX || b->log_bytes >= BATCH_LOG_BYTES_MAX;
}

/* ---- rows of JSON ---- */

/* Five digits are more than any of these is worth; whole numbers stay whole. */
static bool add_number(struct buf *b, double v)
{
	return !isfinite(v) ? buf_adds(b, ",null") : buf_addf(b, fabs(v) < 1e5 ? ",%.5g" : ",%.0f", v);
}

static bool add_integer(struct buf *b, int64_t v, bool known)
{
	return known ? buf_addf(b, ",%lld", (long long)v) : buf_adds(b, ",null");
}

static bool add_string(struct buf *b, struct text t)
{
	return buf_addc(b, ',') && (t.s ? buf_add_json(b, t) : buf_adds(b, "null"));
}

static bool add_bool(struct buf *b, bool v)
{
	return buf_adds(b, v ? ",true" : ",false");
}

static bool metrics_row(struct buf *b, const struct metrics_sample *m)
{
	size_t last = METRIC_COUNT;
	bool ok = buf_addc(b, ',') && (m->details.s ? buf_add(b, m->details.s, m->details.len)
						    : buf_adds(b, "null"));

	while (last > 0 && !isfinite(m->value[last - 1]))       /* what is missing is NULL */
		last--;
	for (size_t i = 0; i < last; i++)
		ok = ok && add_number(b, m->value[i]);
	return ok;
}

static bool check_row(struct buf *b, const struct check_sample *c)
{
	return add_string(b, c->url) && add_integer(b, c->status_code, c->status_code > 0) &&
	       add_number(b, c->response_ms) && add_bool(b, c->error == CHECK_OK) &&
	       add_string(b, c->error ? text_of(check_error_names[c->error]) : (struct text){ NULL, 0 }) &&
	       add_string(b, c->error_message) && add_number(b, c->dns_ms) && add_number(b, c->connect_ms) &&
	       add_number(b, c->tls_ms) && add_number(b, c->first_byte_ms) &&
	       add_integer(b, c->cert_expires_us, c->cert_expires_us > 0) && add_integer(b, c->attempts, true);
}

static bool gap_row(struct buf *b, const struct gap_sample *g)
{
	return add_integer(b, g->stream_id, g->stream_id != 0) && add_string(b, text_of(g->kind)) &&
	       add_integer(b, g->lines, g->lines >= 0) && add_integer(b, g->bytes, g->bytes >= 0) &&
	       add_string(b, g->detail);
}

/* "[timestamp" and the rest of the row, or nothing. */
static bool add_row(struct batch *b, const struct sample *s)
{
	struct buf *to = s->kind == SAMPLE_METRICS ? &b->metrics : s->kind == SAMPLE_CHECK ? &b->checks : &b->gaps;
	size_t mark = to->len;
	bool ok = (mark == 0 || buf_addc(to, ',')) && buf_addf(to, "[%lld", (long long)s->timestamp_us);

	if (s->kind != SAMPLE_GAP)
		ok = ok && add_bool(to, b->backfill);
	ok = ok && (s->kind == SAMPLE_METRICS ? metrics_row(to, &s->metrics)
		  : s->kind == SAMPLE_CHECK   ? check_row(to, &s->check)
					      : gap_row(to, &s->gap));
	if (!ok || !buf_addc(to, ']')) {
		to->len = mark;
		return false;
	}
	b->n_metrics += s->kind == SAMPLE_METRICS;
	b->n_checks += s->kind == SAMPLE_CHECK;
	b->n_gaps += s->kind == SAMPLE_GAP;
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
static size_t stream_index(const struct batch *b, int64_t stream_id)
{
	for (size_t i = b->n_positions; i > 0; i--)
		if (b->positions[i - 1].stream_id == stream_id)
			return i;
	return 0;
}

static bool add_log(struct batch *b, const struct sample *s)
{
	const struct log_sample *l = &s->log;
	size_t bytes = l->logger.len + l->message.len + l->context.len, mark[LOG_COLUMNS];
	size_t stream = stream_index(b, l->stream_id);

	if (stream == 0 || batch_full(b) || (b->n_logs > 0 && b->log_bytes + bytes > BATCH_LOG_BYTES_MAX))
		return false;
	for (int i = 0; i < LOG_COLUMNS; i++)
		mark[i] = b->log[i].data.len;
	if (put_i16(&b->log[COL_STREAM], (int16_t)stream) && put_i64(&b->log[COL_OFFSET], l->offset) &&
	    put_i64(&b->log[COL_TIMESTAMP], s->timestamp_us - PG_EPOCH_US) &&
	    put_i16(&b->log[COL_LEVEL], (int16_t)l->level) && put_text(&b->log[COL_LOGGER], l->logger) &&
	    put_text(&b->log[COL_MESSAGE], l->message) && put_jsonb(&b->log[COL_CONTEXT], l->context)) {
		b->n_logs++;
		b->log_bytes += bytes;
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

bool batch_advance(struct batch *b, const struct position *p)
{
	size_t i = stream_index(b, p->stream_id);
	int64_t from;

	if (i == 0) {
		if (b->n_positions == BATCH_STREAMS_MAX)
			return false;
		b->positions[b->n_positions++] = *p;
		return true;
	}
	from = b->positions[i - 1].from;
	b->positions[i - 1] = *p;
	b->positions[i - 1].from = from;
	return true;
}

/* ---- for the wire ---- */

struct text column_array(struct column *c, size_t n)
{
	const uint32_t header[] = { 1, c->has_null, c->elem_oid, (uint32_t)n, 1 };

	for (size_t i = 0; i < sizeof header / sizeof *header; i++) {
		uint32_t be = __builtin_bswap32(header[i]);

		memcpy(c->data.data + i * sizeof be, &be, sizeof be);
	}
	return (struct text){ c->data.data, c->data.len };
}

static bool position_row(struct buf *out, const struct position *p)
{
	return buf_addf(out, "[%lld,%lld,%lld", (long long)p->stream_id, (long long)p->from, (long long)p->to) &&
	       add_bool(out, p->finished) && add_string(out, text_of(p->path)) &&
	       add_string(out, text_of(p->file_id)) && add_string(out, text_of(p->head_hash)) &&
	       add_string(out, text_of(p->tail_hash)) && buf_addc(out, ']');
}

bool batch_positions(const struct batch *b, struct buf *out)
{
	bool ok = buf_addc(out, '['), first = true;

	for (size_t i = 0; i < b->n_positions; i++)
		if (moved(&b->positions[i])) {
			ok = ok && (first || buf_addc(out, ',')) && position_row(out, &b->positions[i]);
			first = false;
		}
	return ok && buf_addc(out, ']');
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
