/* Any bytes as a log file: it has the same records whether it is read at once or as it grows. The
 * first byte says where it is cut. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/log/multiline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ENDS_MAX = 4096, NOW_S = 1795228754 };

struct ends {
	size_t n, end[ENDS_MAX];
};

/* Take the records of `t` from *at on, as the agent's reader does. `settled`: nothing will follow. */
static void take(struct multiline *m, struct multiline_room *room, struct text t, size_t *at, bool settled,
		 struct ends *ends)
{
	while (*at < t.len && ends->n < ENDS_MAX && memchr(t.s + *at, '\n', t.len - *at)) {
		struct text rest = { t.s + *at, t.len - *at };
		bool open;
		size_t n = multiline_record(m, room, rest, &open);

		if (open && !settled)
			return;
		assert(n < rest.len && rest.s[n] == '\n');
		multiline_learn(m, room, (struct text){ rest.s, n });
		*at += n + 1;
		ends->end[ends->n++] = *at;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct multiline_room room;
	static struct ends whole, parts;
	struct multiline m = { .records = 0 }, again = { .records = 0 };
	struct text t = { (const char *)data + 1, size - 1 };
	size_t at = 0, step;

	if (size < 2)
		return 0;
	if (!room.plain.max)
		multiline_room_init(&room);
	room.clock.now_us = INT64_C(1000000) * NOW_S;
	whole.n = parts.n = 0;
	take(&m, &room, t, &at, true, &whole);
	step = 1 + data[0] % 64U;
	at = 0;
	for (size_t seen = step; seen < t.len; seen += step)
		take(&again, &room, (struct text){ t.s, seen }, &at, false, &parts);
	take(&again, &room, t, &at, true, &parts);
	assert(parts.n == whole.n && memcmp(parts.end, whole.end, whole.n * sizeof *whole.end) == 0);
	return 0;
}
