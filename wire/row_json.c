#include "row_json.h"

#include <assert.h>
#include <math.h>

#include "common/clock.h"
#include "common/parse.h"

enum { BASE64_GROUP = 3 };

/* Where the members of a row go: with their names, and none for null; or by their order. */
struct row_writer {
	struct buf *to;
	bool named;
};

bool row_add_bool(struct buf *out, bool v)
{
	return buf_adds(out, v ? ",1" : ",0");
}

bool row_add_string(struct buf *out, struct text t)
{
	return buf_addc(out, ',') && (t.s ? buf_add_json(out, t) : buf_adds(out, "null"));
}

/* ---- a member ---- */

static bool put_name(const struct row_writer *w, const char *name)
{
	return w->named ? buf_addf(w->to, ",\"%s\":", name) : buf_addc(w->to, ',');
}

static bool put_null(const struct row_writer *w)
{
	return w->named || buf_adds(w->to, ",null");
}

static bool put_text(const struct row_writer *w, const char *name, struct text t)
{
	return t.s ? put_name(w, name) && buf_add_json(w->to, t) : put_null(w);
}

/* JSON that is there already. */
static bool put_json(const struct row_writer *w, const char *name, struct text json)
{
	return json.s ? put_name(w, name) && buf_add(w->to, json.s, json.len) : put_null(w);
}

/* The database sees it by the lack of an error. */
static bool put_success(const struct row_writer *w, bool v)
{
	return !w->named || put_json(w, "success", v ? TEXT("true") : TEXT("false"));
}

static bool put_integer(const struct row_writer *w, const char *name, int64_t v)
{
	return put_name(w, name) && buf_addf(w->to, "%lld", (long long)v);
}

static bool put_known(const struct row_writer *w, const char *name, int64_t v, bool known)
{
	return known ? put_integer(w, name, v) : put_null(w);
}

/* Four digits and two decimals are more than any of these is worth; whole numbers stay whole. */
static bool put_number(const struct row_writer *w, const char *name, double v)
{
	if (!isfinite(v))
		return put_null(w);
	if (fabs(v) >= 1e4)
		return put_name(w, name) && buf_addf(w->to, "%.0f", v);
	return put_name(w, name) && buf_addf(w->to, "%.4g", round(v * 100) / 100);
}

/* Microseconds for the database, a date for people. 0: none. */
static bool put_time(const struct row_writer *w, const char *name, int64_t us)
{
	char when[RFC3339_SIZE];

	if (us <= 0 || !w->named)
		return put_known(w, name, us, us > 0);
	format_rfc3339(when, us);
	return put_text(w, name, text_of(when));
}

/* Base64 as RFC 4648 has it, which is what PostgreSQL's decode() reads. */
static bool add_base64(struct buf *out, struct text t)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *to = buf_room(out, (t.len + BASE64_GROUP - 1) / BASE64_GROUP * 4);

	if (!to)
		return t.len == 0;
	for (size_t i = 0; i < t.len; i += BASE64_GROUP) {
		const unsigned char *p = (const unsigned char *)t.s + i;
		size_t n = t.len - i;
		unsigned v = (unsigned)p[0] << 16 | (n > 1 ? (unsigned)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);

		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = n > 1 ? digits[v >> 6 & 63] : '=';
		*to++ = n > 2 ? digits[v & 63] : '=';
	}
	out->len = (size_t)(to - out->data);
	return true;
}

/* ---- a row of each kind ---- */

static bool write_metrics(const struct row_writer *w, const struct sample *s)
{
	const struct metrics_sample *m = &s->metrics;
	bool ok = m->details.s || w->named ? put_json(w, "details", m->details) : buf_adds(w->to, ",0");

	for (size_t i = 0; i < METRIC_COUNT; i++)
		ok = ok && put_number(w, metric_table[i].column, m->value[i]);
	return ok;
}

/* What most checks lack comes last, and is left out. What was added later comes behind it, because the order
 * is the wire format. */
static bool write_checks(const struct row_writer *w, const struct sample *s)
{
	const struct check_sample *c = &s->check;
	const char *error = c->error ? check_error_names[c->error] : NULL;

	return put_text(w, "url", c->url) &&
	       put_known(w, "status_code", c->status_code, c->status_code > 0) &&
	       put_number(w, "response_time_ms", c->response_ms) && put_success(w, !error) &&
	       put_integer(w, "attempts", c->attempts) &&
	       put_known(w, "interval_s", c->interval_us / US_PER_S, c->interval_us >= US_PER_S) &&
	       put_number(w, "first_byte_ms", c->first_byte_ms) &&
	       put_number(w, "connect_ms", c->connect_ms) && put_number(w, "dns_ms", c->dns_ms) &&
	       put_number(w, "tls_ms", c->tls_ms) &&
	       put_time(w, "cert_expires_at", c->cert_expires_us) &&
	       put_text(w, "error_class", error ? text_of(error) : (struct text){ NULL, 0 }) &&
	       put_text(w, "error_message", c->error_message) &&
	       put_time(w, "cert_starts_at", c->cert_starts_us);
}

static bool write_gaps(const struct row_writer *w, const struct sample *s)
{
	const struct gap_sample *g = &s->gap;

	return put_known(w, "stream_id", g->stream_id, g->stream_id != 0) &&
	       put_text(w, "kind", text_of(g->kind)) && put_known(w, "lines", g->lines, g->lines >= 0) &&
	       put_known(w, "bytes", g->bytes, g->bytes >= 0) && put_text(w, "detail", g->detail);
}

/* For people: to the database lines go as columns, see batch.c. */
static bool write_logs(const struct row_writer *w, const struct sample *s)
{
	const struct log_sample *l = &s->log;

	return put_text(w, "level", text_of(log_level_names[l->level])) && put_text(w, "logger", l->logger) &&
	       put_text(w, "message", l->message) && put_json(w, "context", l->context) &&
	       put_integer(w, "offset", l->offset);
}

static bool write_rejects(const struct row_writer *w, const struct sample *s)
{
	const struct reject_sample *r = &s->reject;

	return put_integer(w, "stream_id", r->stream_id) && put_integer(w, "stream_offset", r->offset) &&
	       put_text(w, "sqlstate", text_of(r->sqlstate)) && put_text(w, "reason", text_of(r->reason)) &&
	       put_name(w, "raw") && buf_addc(w->to, '"') && add_base64(w->to, r->raw) &&
	       buf_addc(w->to, '"');
}

const struct row_kind row_kinds[SAMPLE_KIND_COUNT] = {
#define KIND(id, name, table, kept, measured) [SAMPLE_##id] = { #name, table, kept, measured, write_##name },
	SAMPLE_KINDS(KIND)
#undef KIND
};

/* The database takes what is not there for null. A text ends with a quote, and is never one of these. */
static void leave_out_last_nulls(struct buf *row, size_t from)
{
	static const char null[] = ",null";
	enum { LEN = sizeof null - 1 };

	while (row->len >= from + LEN && memcmp(row->data + row->len - LEN, null, LEN) == 0)
		row->len -= LEN;
}

bool row_add(struct buf *out, const struct sample *s)
{
	const struct row_writer w = { .to = out };
	size_t from = out->len;

	assert(s->kind != SAMPLE_LOG);
	if (!row_kinds[s->kind].write(&w, s))
		return false;
	leave_out_last_nulls(out, from);
	return true;
}

bool row_print(struct buf *out, const struct sample *s)
{
	const struct row_kind *kind = &row_kinds[s->kind];
	const struct row_writer w = { .to = out, .named = true };
	char when[RFC3339_SIZE];

	format_rfc3339(when, s->timestamp_us);
	return buf_addf(out, "{\"table\":\"%s\",\"timestamp\":\"%s\"", kind->table, when) &&
	       kind->write(&w, s) && buf_adds(out, "}\n");
}
