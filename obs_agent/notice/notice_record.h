/*
 * notice_record.h - an absence of the database, and what people were told of it, as a file that outlives the
 * agent.
 *
 * Owns the file "notice" in the state folder, and the id of the absence, from which the ids of its messages
 * are made: a message that is sent again after a restart has the same one. Without a folder nothing is kept.
 * Leaves out what follows from it (notice.h).
 */
#ifndef OBS_AGENT_NOTICE_RECORD_H
#define OBS_AGENT_NOTICE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

enum { NOTICE_ID_SIZE = 37 };           /* a UUID */

/* MAYBE: the peer got the message and did not answer. The order is the file's. */
enum notice_told { TOLD_NO, TOLD_MAYBE, TOLD_YES };

/* Times are of the wall clock; 0: not yet. */
struct notice_record {
	char id[NOTICE_ID_SIZE];
	enum notice_told told;          /* that the database is away */
	int64_t since_us;
	int64_t told_us;                /* when the message was made */
	int64_t over_us;                /* the database came back */
	int64_t seen_us;                /* an agent ran, and the database was away */
};

/* A new absence. */
struct notice_record notice_record_new(int64_t since_us);

/* False: there is none that can be read. */
bool notice_record_load(const char *folder, struct notice_record *ret);
int notice_record_save(const char *folder, const struct notice_record *r, struct err *e);
void notice_record_remove(const char *folder);

#endif
