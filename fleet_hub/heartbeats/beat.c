#include "beat.h"

#include "common/cleanup.h"
#include "common/embed.h"
#include "fleet_hub/base/auth.h"
#include "fleet_hub/base/refusal.h"

EMBED(sql_beat, "fleet_hub/heartbeats/beat.sql");

enum { ASK_MS = 5000, ANSWER_MAX = 4096 };

void beat_answer(struct request *r, struct db *db, struct response *s)
{
	CLEANUP(buf_free) struct buf answer = BUF(ANSWER_MAX);
	const char *slash = strchr(r->rest, '/');
	char hash[HTTP_HASH_SIZE];
	const char *params[] = { hash, slash ? slash + 1 : NULL, request_param(r, "note") };
	const struct db_question question = { sql_beat, 3, params, ASK_MS };
	enum db_failure failure;
	struct err e;

	auth_hash((struct text){ r->rest, slash ? (size_t)(slash - r->rest) : strlen(r->rest) }, hash);
	failure = db_change(db, &question, &answer, &e);
	if (failure) {
		refuse_failure(r, db, s, failure, &e);
		return;
	}
	s->status = 200;
	s->type = "application/json";
	buf_add(&s->body, answer.data, answer.len);
}
