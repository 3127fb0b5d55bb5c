/*
 * state_report.h - when the agent's report on itself goes to the database.
 *
 * It goes with metrics: after five minutes, after an hour where all that came since was routine, or at once
 * if there is news. News that can't wait goes alone, at most every ten seconds. Owns the text; leaves out
 * what is in it. Times are monotonic.
 */
#ifndef OBS_AGENT_STATE_REPORT_H
#define OBS_AGENT_STATE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "wire/sample.h"

/* Does it come in each interval while nothing happens? */
bool sample_is_routine(const struct sample *s);

struct state_report {
	int64_t sent_us;                /* 0: never */
	int64_t lost_told;              /* samples lost when it was sent last */
	bool news;                      /* there is something that was not sent */
	bool moves;                     /* more than routine came since it was sent */
	struct buf json;
};

void state_report_init(struct state_report *r);
void state_report_free(struct state_report *r);

/* May news go alone now? */
bool state_report_news_due(const struct state_report *r, int64_t now_us);

/* How long to wait for that, and for other news that may come. */
int64_t state_report_delay_us(const struct state_report *r, int64_t now_us);

/* What a batch with metrics would say now that the last report did not. */
struct state_report_now {
	bool trouble;                   /* the database has answered with an error */
	int64_t lost;                   /* samples, so far */
};

/* Does the batch carry the report? Without metrics, it does only if the news is due. */
bool state_report_due(const struct state_report *r, bool metrics, const struct state_report_now *now,
		      int64_t now_us);

/* It goes out now: the text that `print` appends. Valid until the next call; absent: there is none. */
struct text state_report_send(struct state_report *r, bool (*print)(void *data, struct buf *out), void *data,
			      int64_t lost, int64_t now_us);

#endif
