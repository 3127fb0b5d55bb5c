#include "row_json.h"

#include <math.h>

enum { BASE64_GROUP = 3 };

bool row_add_integer(struct buf *out, int64_t v)
{
	return buf_addf(out, ",%lld", (long long)v);
}

bool row_add_bool(struct buf *out, bool v)
{
	return buf_adds(out, v ? ",true" : ",false");
}

bool row_add_string(struct buf *out, struct text t)
{
	return buf_addc(out, ',') && (t.s ? buf_add_json(out, t) : buf_adds(out, "null"));
}

/* Five digits are more than any of these is worth; whole numbers stay whole. */
static bool add_number(struct buf *out, double v)
{
	return !isfinite(v) ? buf_adds(out, ",null") : buf_addf(out, fabs(v) < 1e5 ? ",%.5g" : ",%.0f", v);
}

static bool add_known(struct buf *out, int64_t v, bool known)
{
	return known ? row_add_integer(out, v) : buf_adds(out, ",null");
}

static bool add_metrics(struct buf *out, const struct metrics_sample *m)
{
	size_t last = METRIC_COUNT;
	bool ok = buf_addc(out, ',') && (m->details.s ? buf_add(out, m->details.s, m->details.len)
						      : buf_adds(out, "null"));

	while (last > 0 && !isfinite(m->value[last - 1]))       /* what is missing is NULL */
		last--;
	for (size_t i = 0; i < last; i++)
		ok = ok && add_number(out, m->value[i]);
	return ok;
}

static bool add_check(struct buf *out, const struct check_sample *c)
{
	return row_add_string(out, c->url) && add_known(out, c->status_code, c->status_code > 0) &&
	       add_number(out, c->response_ms) && row_add_bool(out, c->error == CHECK_OK) &&
	       row_add_string(out, c->error ? text_of(check_error_names[c->error]) : (struct text){ NULL, 0 }) &&
	       row_add_string(out, c->error_message) && add_number(out, c->dns_ms) && add_number(out, c->connect_ms) &&
	       add_number(out, c->tls_ms) && add_number(out, c->first_byte_ms) &&
	       add_known(out, c->cert_expires_us, c->cert_expires_us > 0) && row_add_integer(out, c->attempts);
}

static bool add_gap(struct buf *out, const struct gap_sample *g)
{
	return add_known(out, g->stream_id, g->stream_id != 0) && row_add_string(out, text_of(g->kind)) &&
	       add_known(out, g->lines, g->lines >= 0) && add_known(out, g->bytes, g->bytes >= 0) &&
	       row_add_string(out, g->detail);
}

bool row_add(struct buf *out, const struct sample *s)
{
	switch (s->kind) {
	case SAMPLE_METRICS: return add_metrics(out, &s->metrics);
	case SAMPLE_CHECK: return add_check(out, &s->check);
	case SAMPLE_GAP: return add_gap(out, &s->gap);
	default: return false;
	}
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

bool row_add_reject(struct buf *out, int64_t stream_id, int64_t offset, const char *sqlstate, const char *reason,
		    struct text raw)
{
	return row_add_integer(out, stream_id) && row_add_integer(out, offset) &&
	       row_add_string(out, text_of(sqlstate)) && row_add_string(out, text_of(reason)) &&
	       buf_adds(out, ",\"") && add_base64(out, raw) && buf_addc(out, '"');
}
