#include "log_memo.h"

#include <string.h>

#include "common/clock.h"

enum { NOW_SLACK_S = 60 };

/* The same span in a copy of the text that begins at `to`; names that are no part of the text stay. */
static struct text moved(struct text t, struct text from, const char *to)
{
	if (t.s >= from.s && t.s <= from.s + from.len)
		t.s = to + (t.s - from.s);
	return t;
}

static void copy(struct log_text *to, const struct log_text *t, struct text from, const char *bytes)
{
	to->timed = t->timed;
	to->leveled = t->leveled;
	to->dated = t->dated;
	to->us = t->us;
	to->time = moved(t->time, from, bytes);
	to->level = t->level;
	to->logger = moved(t->logger, from, bytes);
	to->prefix = t->prefix;
	to->message = (struct log_text_field){ .value = { NULL, 0 } };
	to->n = t->n;
	for (unsigned i = 0; i < t->n; i++)
		to->field[i] =
			(struct log_text_field){ moved(t->field[i].name, from, bytes),
						 moved(t->field[i].value, from, bytes), t->field[i].kind };
}

static bool holds(const struct log_memo_slot *s, const struct log_clock *c, struct text line)
{
	return s->len == line.len && s->zone == c->zone && c->now_us - s->now_us < NOW_SLACK_S * US_PER_S &&
	       s->now_us - c->now_us < NOW_SLACK_S * US_PER_S && memcmp(s->bytes, line.s, line.len) == 0;
}

/* Near a change of the clocks the order of lines decides what a time means: it is read each time. */
static bool may_keep(const struct log_clock *c, struct text line, const struct log_text *t)
{
	return line.len > 0 && line.len <= MEMO_BYTES_MAX &&
	       (!t->timed || !c->zone || !zone_changes_near(c->zone, t->us / US_PER_S));
}

bool log_memo_read(struct log_memo *memo, struct log_clock *c, struct text line, struct log_text *ret)
{
	struct log_memo_slot *s;
	bool prefixed;

	for (unsigned i = 0; memo && i < 2; i++) {
		s = &memo->slot[memo->last ^ i];
		if (!holds(s, c, line))
			continue;
		memo->last ^= i;
		copy(ret, &s->found, (struct text){ s->bytes, s->len }, line.s);
		return s->prefixed;
	}
	prefixed = log_text_read(c, line, ret);
	if (!memo || !may_keep(c, line, ret))
		return prefixed;
	memo->last ^= 1;
	s = &memo->slot[memo->last];
	memcpy(s->bytes, line.s, line.len);
	s->len = line.len;
	s->zone = c->zone;
	s->now_us = c->now_us;
	s->prefixed = prefixed;
	copy(&s->found, ret, line, s->bytes);
	return prefixed;
}
