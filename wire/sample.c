#include "sample.h"

#include <math.h>

#include "common/parse.h"

const struct metric_info metric_table[METRIC_COUNT] = {
#define METRIC_ROW(id, column, unit, help) [METRIC_##id] = { column, unit, help },
	METRICS(METRIC_ROW, METRIC_ROW)
#undef METRIC_ROW
};

const char *const check_error_names[] = {
	[CHECK_OK] = "",
	[CHECK_DNS] = "dns",
	[CHECK_REFUSED] = "refused",
	[CHECK_TIMEOUT] = "timeout",
	[CHECK_TLS] = "tls",
	[CHECK_PROTOCOL] = "protocol",
	[CHECK_STATUS] = "status",
	[CHECK_BODY] = "body",
};

static bool member_name(struct buf *b, const char *name)
{
	return buf_addf(b, ",\"%s\":", name);
}

static bool add_text(struct buf *b, const char *name, struct text t)
{
	return !t.s || (member_name(b, name) && buf_add_json(b, t));
}

static bool add_number(struct buf *b, const char *name, double v)
{
	return !isfinite(v) || (member_name(b, name) && buf_addf(b, "%.7g", v));
}

static bool add_integer(struct buf *b, const char *name, int64_t v)
{
	return member_name(b, name) && buf_addf(b, "%lld", (long long)v);
}

/* JSON that is already there. */
static bool add_raw(struct buf *b, const char *name, struct text json)
{
	return !json.s || (member_name(b, name) && buf_add(b, json.s, json.len));
}

static bool print_metrics(const struct metrics_sample *m, struct buf *b)
{
	bool ok = true;

	for (int i = 0; i < METRIC_COUNT; i++)
		ok = ok && add_number(b, metric_table[i].column, m->value[i]);
	return ok && add_raw(b, "details", m->details);
}

static bool print_check(const struct check_sample *c, struct buf *b)
{
	char expires[RFC3339_SIZE];

	format_rfc3339(expires, c->cert_expires_us);
	return add_text(b, "url", c->url) && add_integer(b, "status_code", c->status_code) &&
	       add_number(b, "response_time_ms", c->response_ms) &&
	       add_raw(b, "success", c->error ? TEXT("false") : TEXT("true")) &&
	       add_text(b, "error_class", text_of(check_error_names[c->error])) &&
	       add_text(b, "error_message", c->error_message) && add_number(b, "dns_ms", c->dns_ms) &&
	       add_number(b, "connect_ms", c->connect_ms) && add_number(b, "tls_ms", c->tls_ms) &&
	       add_number(b, "first_byte_ms", c->first_byte_ms) &&
	       (c->cert_expires_us <= 0 || add_text(b, "cert_expires_at", text_of(expires))) &&
	       add_integer(b, "attempts", c->attempts);
}

static bool print_log(const struct log_sample *l, struct buf *b)
{
	return add_text(b, "level", text_of(log_level_names[l->level])) && add_text(b, "logger", l->logger) &&
	       add_text(b, "message", l->message) && add_raw(b, "context", l->context) &&
	       add_integer(b, "offset", l->offset);
}

static bool print_gap(const struct gap_sample *g, struct buf *b)
{
	return add_text(b, "gap", text_of(g->kind)) && add_integer(b, "lines", g->lines) &&
	       add_integer(b, "bytes", g->bytes) && add_text(b, "detail", g->detail);
}

bool sample_print(const struct sample *s, struct buf *b)
{
	static const char *const tables[] = { [SAMPLE_METRICS] = "vps_metrics", [SAMPLE_CHECK] = "health_checks",
					      [SAMPLE_GAP] = "gaps", [SAMPLE_LOG] = "log_entries" };
	char when[RFC3339_SIZE];
	bool ok;

	format_rfc3339(when, s->timestamp_us);
	ok = buf_addf(b, "{\"table\":\"%s\",\"timestamp\":\"%s\"", tables[s->kind], when);
	ok = ok && (s->kind == SAMPLE_METRICS ? print_metrics(&s->metrics, b)
		  : s->kind == SAMPLE_CHECK   ? print_check(&s->check, b)
		  : s->kind == SAMPLE_LOG     ? print_log(&s->log, b)
					      : print_gap(&s->gap, b));
	return ok && buf_adds(b, "}\n");
}
