#include "hash_slot.h"

#include <stdio.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/embed.h"

EMBED(sql_hash_slot_take, "fleet_hub/base/hash_slot_take.sql");
EMBED(sql_hash_slot_give, "fleet_hub/base/hash_slot_give.sql");

enum { TIMEOUT_MS = 5000, TRIES = 40, PAUSE_MS = 50 };

enum db_failure hash_slot_take(struct db *db, struct hash_slot *slot, struct err *e)
{
	static const struct timespec pause = { 0, PAUSE_MS * 1000000L };
	CLEANUP(buf_free) struct buf answer = BUF(sizeof slot->lease);
	const struct db_question question = { sql_hash_slot_take, 0, NULL, TIMEOUT_MS };
	enum db_failure failure;

	slot->lease[0] = '\0';
	for (int i = 0; (failure = db_change(db, &question, &answer, e)) == DB_REFUSED && i < TRIES; i++)
		nanosleep(&pause, NULL);
	if (failure == DB_OK && buf_cstr(&answer))
		snprintf(slot->lease, sizeof slot->lease, "%s", answer.data);
	return failure;
}

void hash_slot_give(struct db *db, struct hash_slot *slot)
{
	CLEANUP(buf_free) struct buf answer = BUF(64);
	const char *params[] = { slot->lease };
	const struct db_question question = { sql_hash_slot_give, 1, params, TIMEOUT_MS };
	struct err e;

	if (slot->lease[0])
		db_change(db, &question, &answer, &e);
	slot->lease[0] = '\0';
}
