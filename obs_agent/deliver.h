/*
 * deliver.h - exactly once: which samples go into which transaction, and what to do when the
 * server's answer is lost.
 *
 * Owns the two batches (one fills, one is in flight), the outbox, the sequence number and the
 * flush timer. Promises that each sample taken by deliver_add() is committed once or counted in a
 * gap row; that after a lost connection it asks the database before it sends anything again; that
 * a row which the server refuses does not block others: halving finds it, and it goes to rejects;
 * and that memory is bounded: when both batches are full, log sources pause.
 */
#ifndef OBS_AGENT_DELIVER_H
#define OBS_AGENT_DELIVER_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "common/err.h"
#include "logcore/logcore.h"
#include "wire/batch.h"
#include "obs_agent/config/config.h"
#include "obs_agent/outage.h"
#include "obs_agent/outbox/outbox.h"

struct deliver;

struct deliver_events {
	/* The positions in the database. Called at the first connect, when the database does not
	 * have what it had committed (after a failover), and before a smaller batch is made. Log
	 * rows that are not committed are dropped: read them again from these positions. */
	/* Return false when out of memory: the call is repeated after the next hello. */
	bool (*positions)(void *data, const struct position *p, size_t n);
	void (*committed)(void *data, const struct batch *b);
	void (*resume)(void *data);             /* deliver_add() takes samples again */
	void (*fenced)(void *data);             /* another agent took over: this one must end */
	void (*changed)(void *data);            /* connected, disconnected, or the first commit */
	/* Append the agent's state as a JSON object; false: nothing to say. */
	bool (*state)(void *data, struct buf *out);
};

struct deliver_options {
	sd_event *loop;
	const struct config *config;    /* must outlive the delivery */
	struct logcore *log;
	const char *state_folder;       /* folder for samples that wait for the database; NULL: memory */
	int64_t spread_us;              /* wait a random part of this before the first connect */
};

int deliver_new(const struct deliver_options *o, const struct deliver_events *events, void *data,
		struct deliver **ret, struct err *e);
void deliver_free(struct deliver *d);

/* False: full; only log lines are ever refused. */
bool deliver_add(struct deliver *d, const struct sample *s);
bool deliver_set_position(struct deliver *d, const struct position *p);

/* Send what is held as soon as possible. deliver_finish(): and no more samples will come. */
void deliver_flush(struct deliver *d);
void deliver_finish(struct deliver *d);

/* Ask the database for its positions again, for a source that started late; positions() is called
 * with the answer. */
void deliver_ask(struct deliver *d);

/* The agent's state has news that can't wait for the next metrics. It is sent within a second or,
 * after another report, within ten. */
void deliver_tell_state(struct deliver *d);

/* Is everything committed that was handed over? */
bool deliver_idle(const struct deliver *d);

/* The state of delivery, for `obs_agent status` and the unit's STATUS=. */
struct deliver_state {
	bool connected;
	int64_t last_commit_us;         /* wall clock, 0: not yet */
	int64_t away_since_us;          /* wall clock, 0: connected */
	int64_t batches;                /* committed by this process */
	int64_t rows[SAMPLE_KIND_COUNT];        /* in them; the rejects are what the server refused */
	struct outbox_state outbox;
	struct outage_past outage;      /* the last one */
	int64_t skew_us;
	const char *last_error;         /* "" when there was none since the last commit */
};
struct deliver_state deliver_state(const struct deliver *d);

/* Write it in words, for the unit's STATUS=. */
enum { DELIVER_WORDS_SIZE = 128 + ERR_MSG_MAX };
void deliver_state_words(const struct deliver_state *s, char *out, size_t size);

/* Append it as members of a JSON object, without the braces. */
bool deliver_state_print(const struct deliver_state *s, struct buf *out);

#endif
