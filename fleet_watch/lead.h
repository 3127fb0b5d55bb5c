/*
 * lead.h - which of several watchers leads: the database says so to one of those that ask.
 *
 * Asks again and again, also while it leads: who does not ask any more, or whose session has ended, loses the
 * lead (schema/77-delivery.sql), and its session counts as dead (sql/session.sql). Leaves out what a leader
 * does.
 */
#ifndef FLEET_WATCH_LEAD_H
#define FLEET_WATCH_LEAD_H

#include <stdbool.h>

#include "logcore/logcore.h"
#include "watch_db.h"

struct lead;

struct lead_setup {
	struct watch_db *db;
	struct logcore *log;
	const char *watcher;
	/* The database has said who leads; not `known`: it could not. */
	void (*answered)(void *data, bool known);
	void *data;
};

/* NULL: out of memory. */
struct lead *lead_new(const struct lead_setup *s);
void lead_free(struct lead *l);

/* Ask, unless the last question is not answered yet. */
void lead_ask(struct lead *l);

bool lead_leads(const struct lead *l);
bool lead_busy(const struct lead *l);

/* Why the database does not say who leads; "": it does. */
const char *lead_trouble(const struct lead *l);

/* The session is gone, and perhaps the lead with it. */
void lead_lost(struct lead *l);

#endif
