#include <inttypes.h>
#include <stdio.h>

#include "common/parse.h"
#include "deliver.h"
#include "wire/row_json.h"

static bool add_time(struct buf *out, const char *name, int64_t us)
{
	char when[RFC3339_SIZE];

	format_rfc3339(when, us);
	return us == 0 || buf_addf(out, ",\"%s\":\"%s\"", name, when);
}

static bool add_text(struct buf *out, const char *name, const char *s)
{
	return !s[0] || (buf_addf(out, ",\"%s\":", name) && buf_add_json(out, text_of(s)));
}

static bool add_outage(struct buf *out, const struct outage_past *o)
{
	return o->since_us == 0 ||
	       (buf_addf(out, ",\"last_outage\":{\"samples\":%" PRId64 ",\"lost\":%" PRId64, o->samples,
			 o->lost) &&
		add_time(out, "since", o->since_us) && add_time(out, "until", o->until_us) &&
		buf_addc(out, '}'));
}

static bool add_outbox(struct buf *out, const struct outbox_state *o)
{
	return buf_addf(out,
			",\"pending\":%" PRId64 ",\"lost\":%" PRId64 ",\"outbox\":{\"bytes\":%" PRId64
			",\"in_memory\":%s",
			o->samples, o->lost, o->bytes, o->in_memory ? "true" : "false") &&
	       add_text(out, "trouble", o->trouble) && buf_addc(out, '}');
}

static bool add_rows(struct buf *out, const int64_t rows[SAMPLE_KIND_COUNT])
{
	int64_t all = 0;
	bool ok;

	for (int i = 0; i < SAMPLE_KIND_COUNT; i++)
		all += rows[i];
	ok = buf_addf(out, ",\"rows\":%" PRId64 ",\"rows_by_kind\":{", all);
	for (int i = 0; i < SAMPLE_KIND_COUNT; i++)
		ok = ok && buf_addf(out, "%s\"%s\":%" PRId64, i ? "," : "", row_kinds[i].name, rows[i]);
	return ok && buf_addf(out, "},\"rejects\":%" PRId64, rows[SAMPLE_REJECT]);
}

bool deliver_state_print(const struct deliver_state *s, struct buf *out)
{
	return buf_addf(out, "\"connected\":%s,\"skew_ms\":%" PRId64 ",\"batches\":%" PRId64,
			s->connected ? "true" : "false", s->skew_us / 1000, s->batches) &&
	       add_rows(out, s->rows) && add_outbox(out, &s->outbox) &&
	       add_time(out, "last_commit", s->last_commit_us) &&
	       add_time(out, "buffering_since", s->away_since_us) && add_outage(out, &s->outage) &&
	       add_text(out, "last_error", s->last_error);
}

void deliver_state_words(const struct deliver_state *s, char *out, size_t size)
{
	char when[RFC3339_SIZE];

	format_rfc3339(when, s->connected ? s->last_commit_us : s->away_since_us);
	when[sizeof "2026-11-24T14:02:03" - 1] = '\0';           /* seconds are enough */
	if (s->connected && s->last_commit_us)
		snprintf(out, size, "ok, last commit %s UTC, %" PRId64 " sample%s pending, %" PRId64 " lost",
			 when, s->outbox.samples, plural(s->outbox.samples), s->outbox.lost);
	else if (s->connected)
		snprintf(out, size, "ok, connected, nothing written yet");
	else if (!s->away_since_us)
		snprintf(out, size, "ok, looking for the row that the database refuses");
	else
		snprintf(out, size, "buffering since %s UTC, %" PRId64 " sample%s, %" PRId64 " lost: %s",
			 when, s->outbox.samples, plural(s->outbox.samples), s->outbox.lost,
			 s->last_error[0] ? s->last_error : "connecting");
}
