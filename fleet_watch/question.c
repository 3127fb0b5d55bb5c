#include "question.h"

#include <stdio.h>
#include <string.h>

bool question_answered(struct question *q, struct logcore *log, const PGresult *r, bool lost,
		       const struct err *e)
{
	q->asking = false;
	q->changed = false;
	if (lost)
		return false;
	q->changed = !r || q->trouble[0];
	if (r && q->trouble[0])
		logcore_info(log, "the database does its part again", logcore_kv("before", q->failed));
	else if (!r && strcmp(q->trouble, e->msg) != 0)
		logcore_error(log, q->failed, logcore_kv("error", e->msg));
	snprintf(q->trouble, sizeof q->trouble, "%s", r ? "" : e->msg);
	return r;
}
