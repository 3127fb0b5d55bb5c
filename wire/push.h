/*
 * push.h - the calls of the contract with schema.sql, and their answers.
 *
 * Owns the statements, their parameters, and whether they go as a pipeline or as one query. Promises that all
 * of them are unnamed, so a pooler may stand between, and that each call is one transaction. Leaves out the
 * connection, and what an answer means (obs_agent/pg, an ingest endpoint).
 */
#ifndef WIRE_PUSH_H
#define WIRE_PUSH_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "batch.h"

/* Who writes. */
struct identity {
	const char *vps_name, *app;
	int64_t process;                /* a random number for each start */
	int64_t interval_us;            /* between two samples: the database expects rows as often */
	int64_t epoch;                  /* of the last hello, 0 when there was no answer to one yet */
};

/* What the answer to a statement is. */
enum answer {
	ANSWER_NONE,                    /* nothing but that it was done */
	ANSWER_HELLO,
	ANSWER_STREAMS,
};

enum {
	PUSH_ANSWERS_MAX = 2,
	/* rows of all kinds, positions, and the rest */
	PUSH_JSON_BYTES_MAX = (SAMPLE_KIND_COUNT + 2) * BATCH_ROWS_BYTES_MAX,
};

/* What is sent by one call, and who sends it. Not owned: the connection and
 * the buffer, in which push_batch() makes its parameters. */
struct push {
	PGconn *conn;
	struct identity who;
	struct buf *json;               /* BUF(PUSH_JSON_BYTES_MAX) */
	enum answer answer[PUSH_ANSWERS_MAX];   /* that are still to come, in the order of the statements */
	size_t n_answers, next_answer;
	bool is_query;                  /* and no pipeline: the end of its results is the end */
};

/* Each call sends its statements and notes their answers; those before must have been read. False: libpq
 * could not take them (out of memory, connection lost). */

/* Also ends a stale session of this agent that still holds the lock on its row. */
bool push_hello(struct push *p);
bool push_streams(struct push *p);

/* A whole batch; `state` is a JSON object or absent. */
bool push_batch(struct push *p, struct batch *b, struct text state);

/* What the next result answers; one that nobody waits for is ANSWER_NONE. */
enum answer push_next_answer(struct push *p);

struct hello {
	int64_t epoch;                  /* 0: another agent has taken over */
	int64_t last_seq;               /* of the last batch that was committed */
	int64_t server_us;              /* the server's clock */
	int64_t schema_version;
};

/* False: the result is no such answer, or (streams) there is no memory. */
bool push_read_hello(const PGresult *r, struct hello *ret);

/* The positions, to be freed; those of a source stand together. */
bool push_read_streams(const PGresult *r, struct position **ret, size_t *ret_n);

#endif
