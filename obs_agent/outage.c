#include "outage.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"

enum {
	REPEAT_ERROR_S = 300,           /* the same error is logged again this often */
	OUTAGE_TOLD_S = 10,             /* a shorter outage is not reported */
};

static void log_trouble(struct outage *o, enum pg_verdict verdict, const struct err *e, struct logcore *log)
{
	int64_t now = mono_us();

	if (strcmp(o->error, e->msg) == 0 && now - o->logged_us < REPEAT_ERROR_S * US_PER_S)
		return;
	o->logged_us = now;
	snprintf(o->error, sizeof o->error, "%s", e->msg);
	if (verdict == PG_RETRY || verdict == PG_MOVED)
		logcore_warning(log, "database away, will retry", logcore_kv("error", e->msg));
	else
		logcore_error(log, "database refuses, will retry", logcore_kv("error", e->msg));
}

void outage_begin(struct outage *o, enum pg_verdict verdict, const struct err *e, struct logcore *log)
{
	if (!o->since_us)
		o->since_us = wall_us();
	log_trouble(o, verdict, e, log);
}

bool outage_end(struct outage *o, int64_t samples, int64_t lost)
{
	int64_t now = wall_us();
	bool told = o->since_us && now - o->since_us >= OUTAGE_TOLD_S * US_PER_S;

	if (told)
		o->last = (struct outage_past){ o->since_us, now, samples, lost - o->lost_before };
	o->since_us = 0;
	o->lost_before = lost;
	return told;
}
