#include "rate_limit.h"

#include <inttypes.h>

#include "common/clock.h"

bool rate_limit_passes(struct rate_limit *f, int64_t limit, int64_t timestamp_us, enum log_level level)
{
	int64_t second = timestamp_us / US_PER_S;
	struct rate_limit_second *at = &f->seconds[(uint64_t)second % RATE_LIMIT_SECONDS];

	if (second != at->second)
		*at = (struct rate_limit_second){ .second = second };
	if (level >= LEVEL_WARNING)
		return at->severe++ < limit * RATE_LIMIT_SEVERE_FACTOR;
	return at->calm++ < limit;
}

int64_t rate_limit_held_lines(const struct rate_limit_held *c)
{
	int64_t n = 0;

	for (int i = 0; i <= LEVEL_CRITICAL; i++)
		n += c->lines[i];
	return n;
}

bool rate_limit_held_detail(const struct rate_limit_held *c, struct buf *out)
{
	bool ok = true, first = true;

	for (int i = LEVEL_CRITICAL; i >= 0; i--)
		if (c->lines[i]) {
			ok = ok && (first || buf_adds(out, ", ")) &&
			     buf_addf(out, "%" PRId64 " %s", c->lines[i], log_level_names[i]);
			first = false;
		}
	return ok;
}
