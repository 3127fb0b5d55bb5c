#include "flood.h"

#include <inttypes.h>

#include "../common/clock.h"

bool flood_passes(struct flood *f, int64_t limit, int64_t timestamp_us, enum log_level level)
{
	int64_t second = timestamp_us / US_PER_S;

	if (second > f->second)         /* a line that comes late counts into the second that is open */
		*f = (struct flood){ .second = second, .behind = f->behind };
	if (level >= LEVEL_WARNING)
		return f->severe++ < limit * FLOOD_SEVERE_FACTOR;
	return f->calm++ < limit;
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
