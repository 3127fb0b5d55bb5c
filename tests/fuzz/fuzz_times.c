/* Any bytes as a time: what is taken lies within the text and in the range of years, and is taken
 * again as a whole. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/log/log_time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_US   INT64_C(1795228754000000)
#define FIRST_US INT64_C(946684800000000)       /* 2000 */
#define DAY_US   INT64_C(86400000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct log_clock c = { .now_us = NOW_US }, fresh = c;
	struct text t = { (const char *)data, size };
	struct log_time time, again;
	int64_t us;

	if (log_time_begins(&c, t, &time)) {
		assert(time.len >= 6 && time.len <= size);
		assert(time.us >= FIRST_US && time.us <= NOW_US + DAY_US);
		/* What was read before and what stands behind change nothing. */
		assert(log_time_begins(&c, t, &again) && again.us == time.us && again.len == time.len);
		assert(log_time_is(&fresh, (struct text){ t.s, time.len }, &us) && us == time.us);
	}
	if (log_time_is(&c, t, &us))
		assert(us >= FIRST_US && us <= NOW_US + DAY_US);
	return 0;
}
