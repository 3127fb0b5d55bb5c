#include "state_report.h"

#include "common/clock.h"

enum {
	NEWS_DELAY_S = 1,               /* news waits at most so long for other news */
	STATE_EVERY_S = 300,            /* with metrics, sooner with news, ... */
	STATE_IDLE_S = 3600,            /* ... seldom where all that came since was routine, ... */
	STATE_NEWS_S = 10,              /* ... and at most this often alone, when news can't wait */
	STATE_BYTES_MAX = 64 * 1024,
};

void state_report_init(struct state_report *r)
{
	*r = (struct state_report){ .json = BUF(STATE_BYTES_MAX) };
}

void state_report_free(struct state_report *r)
{
	buf_free(&r->json);
}

bool sample_is_routine(const struct sample *s)
{
	return s->kind == SAMPLE_METRICS ||
	       (s->kind == SAMPLE_CHECK && s->check.error == CHECK_OK && !s->check.changed);
}

static int64_t news_at_us(const struct state_report *r)
{
	return r->sent_us ? r->sent_us + STATE_NEWS_S * US_PER_S : 0;
}

bool state_report_news_due(const struct state_report *r, int64_t now_us)
{
	return r->news && now_us >= news_at_us(r);
}

int64_t state_report_delay_us(const struct state_report *r, int64_t now_us)
{
	int64_t within_us = news_at_us(r) - now_us;

	return within_us > NEWS_DELAY_S * US_PER_S ? within_us : NEWS_DELAY_S * US_PER_S;
}

bool state_report_due(const struct state_report *r, bool metrics, const struct state_report_now *now,
		      int64_t now_us)
{
	bool news = now->trouble || r->news || now->lost > r->lost_told;
	int64_t every_s = r->moves ? STATE_EVERY_S : STATE_IDLE_S;

	if (!metrics)
		return state_report_news_due(r, now_us);
	return !r->sent_us || news || now_us - r->sent_us >= every_s * US_PER_S;
}

struct text state_report_send(struct state_report *r, bool (*print)(void *data, struct buf *out), void *data,
			      int64_t lost, int64_t now_us)
{
	r->sent_us = now_us;
	r->news = r->moves = false;
	buf_reset(&r->json);
	if (!print(data, &r->json) || !buf_cstr(&r->json))
		return (struct text){ NULL, 0 };
	r->lost_told = lost;
	return (struct text){ r->json.data, r->json.len };
}
