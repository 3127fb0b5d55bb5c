#include "lead.h"

#include <stdlib.h>

#include "common/embed.h"
#include "question.h"

EMBED(sql_lead, "fleet_watch/sql/lead.sql");

struct lead {
	struct lead_setup s;
	struct question question;
	bool leads;
};

static void on_lead(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct lead *l = data;
	bool known = question_answered(&l->question, l->s.log, r, lost, e) && PQntuples(r);
	bool leads = known && *PQgetvalue(r, 0, 0) == 't';

	if (leads && !l->leads)
		logcore_info(l->s.log, "leads from now on", logcore_kv("watcher", l->s.watcher));
	else if (known && !leads && l->leads)
		logcore_warning(l->s.log,
				"leads no more: another watcher leads, because this one did not ask in time; "
				"database_url must lead to PostgreSQL itself, or to a pooler in session "
				"mode");
	l->leads = leads;
	l->s.answered(l->s.data, known);
}

void lead_ask(struct lead *l)
{
	const char *const params[] = { l->s.watcher };

	if (l->question.asking)
		return;
	l->question.asking = true;
	watch_db_ask(l->s.db, sql_lead, 1, params, on_lead, l);
}

bool lead_leads(const struct lead *l)
{
	return l->leads;
}

bool lead_busy(const struct lead *l)
{
	return l->question.asking;
}

const char *lead_trouble(const struct lead *l)
{
	return l->question.trouble;
}

void lead_lost(struct lead *l)
{
	l->leads = false;
}

struct lead *lead_new(const struct lead_setup *s)
{
	struct lead *l = calloc(1, sizeof *l);

	if (l)
		*l = (struct lead){ .s = *s, .question = { .failed = "the lead can't be asked for" } };
	return l;
}

void lead_free(struct lead *l)
{
	free(l);
}
