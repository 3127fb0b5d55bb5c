#include "rate_limit.h"

#include <inttypes.h>

#include "common/clock.h"

bool flood_passes(struct flood *f, int64_t limit, int64_t timestamp_us, enum log_level level)
{
	int64_t second = timestamp_us / US_PER_S;
	struct flood_second *at = &f->seconds[(uint64_t)second % FLOOD_SECONDS];

	if (second != at->second)
		*at = (struct flood_second){ .second = second };
	if (level >= LEVEL_WARNING)
		return at->severe++ < limit * FLOOD_SEVERE_FACTOR;
	return at->calm++ < limit;
}

int64_t flood_lines(const struct flood_count *c)
{
	int64_t n = 0;

	for (int i = 0; i <= LEVEL_CRITICAL; i++)
		n += c->lines[i];
	return n;
}

bool flood_detail(const struct flood_count *c, struct buf *out)
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
