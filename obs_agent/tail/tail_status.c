#include "tail_status.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/clock.h"

/* Streams by lag, the largest first. */
struct ranking {
	const struct stream *s[STATUS_STREAMS_MAX];
	size_t n;
};

static void rank(struct ranking *r, const struct stream *s)
{
	size_t i = r->n < STATUS_STREAMS_MAX ? r->n++ : STATUS_STREAMS_MAX;

	for (; i > 0 && stream_lag_bytes(r->s[i - 1]) < stream_lag_bytes(s); i--)
		if (i < STATUS_STREAMS_MAX)
			r->s[i] = r->s[i - 1];
	if (i < STATUS_STREAMS_MAX)
		r->s[i] = s;
}

static bool add_stream(struct buf *out, const struct tail_files *t, const struct stream *s, int64_t now_us)
{
	return buf_adds(out, "{\"path\":") && buf_add_json(out, text_of(stream_path(s))) &&
	       buf_addf(out,
			",\"position\":%" PRId64 ",\"lag_bytes\":%" PRId64 ",\"lag_s\":%" PRId64
			",\"rotated\":%s}",
			stream_progress(s)->committed, stream_lag_bytes(s),
			stream_lag_us(s, now_us) / US_PER_S, tail_files_led_to(t, s) ? "false" : "true");
}

static bool add_ranking(struct buf *out, const struct tail_files *t, const struct ranking *r, int64_t now_us)
{
	size_t begin = out->len;
	bool ok = buf_adds(out, "\"streams\":[");

	for (size_t i = 0; i < r->n && out->len - begin < STATUS_STREAMS_BYTES; i++)
		ok = ok && (i == 0 || buf_addc(out, ',')) && add_stream(out, t, r->s[i], now_us);
	return ok && buf_addc(out, ']');
}

/* What is only waited for is no trouble. */
static bool is_trouble(const struct tail_files *t, const struct trouble *x)
{
	return tail_files_lasts(t, x) && x->code != ENOENT;
}

size_t tail_status_troubles(const struct tail_files *t)
{
	size_t n = 0;

	for (const struct trouble *x = t->troubles; x < t->troubles + TROUBLES_MAX; x++)
		n += is_trouble(t, x);
	return n;
}

/* What can't be followed, and why. */
static bool add_troubles(struct buf *out, const struct tail_files *t)
{
	size_t begin = out->len;
	bool ok = buf_adds(out, ",\"troubles\":["), first = true;

	for (const struct trouble *x = t->troubles; x < t->troubles + TROUBLES_MAX; x++) {
		if (!is_trouble(t, x) || out->len - begin > STATUS_TROUBLES_BYTES)
			continue;
		ok = ok && (first || buf_addc(out, ',')) && buf_adds(out, "{\"path\":") &&
		     buf_add_json(out, text_of(x->path)) && buf_adds(out, ",\"why\":") &&
		     buf_add_json(out, text_of(x->why)) && buf_addc(out, '}');
		first = false;
	}
	return ok && buf_addc(out, ']');
}

bool tail_status_files(const struct tail_files *t, struct buf *out)
{
	struct ranking r = { .n = 0 };
	int64_t now_us = mono_us(), bytes = 0, oldest = 0;

	for (const struct stream *s = t->streams; s; s = stream_next(s)) {
		rank(&r, s);
		bytes += stream_lag_bytes(s);
		if (oldest < stream_lag_us(s, now_us) / US_PER_S)
			oldest = stream_lag_us(s, now_us) / US_PER_S;
	}
	return add_ranking(out, t, &r, now_us) && add_troubles(out, t) &&
	       buf_addf(out,
			",\"files\":%zu,\"open\":%zu,\"parked\":%zu,\"held\":%zu,\"missing\":%zu,\"lag_"
			"bytes\":%" PRId64 ",\"lag_s\":%" PRId64,
			t->n_streams, t->n_open, t->n_streams - t->n_open, t->n_held, t->missing.n, bytes,
			oldest);
}
