/*
 * hash_slot.h - how many passwords go through argon2id at once, in all processes of all hubs.
 *
 * Each takes memory and a core, and a CGI has as many processes as there are requests. The database has the
 * slots: the row 'password hash' of limit_policy says how many. Promises that a process which is killed gives
 * its slot back, at the latest when REQUEST_SECONDS are over.
 */
#ifndef FLEET_HUB_HASH_SLOT_H
#define FLEET_HUB_HASH_SLOT_H

#include "db.h"

struct hash_slot {
	char lease[64]; /* JSON; "": none is held */
};

/* Wait a moment for a slot. Without one DB_REFUSED: 429, and when to come again. */
enum db_failure hash_slot_take(struct db *db, struct hash_slot *slot, struct err *e);
void hash_slot_give(struct db *db, struct hash_slot *slot);

#endif
