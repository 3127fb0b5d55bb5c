/*
 * deliver.h - exactly once: which samples go into which transaction, and what
 * is done when the answer is missing.
 *
 * Owns the two batches (one fills, one is on its way), the outbox, the sequence
 * number and the flush timer. Promises that a sample taken by deliver_add() is
 * committed once, or counted in a gap row; that after a lost connection the
 * database is asked before anything is sent again; that a row which the server
 * refuses stops nothing: it is found by halving and kept in rejects; and that
 * memory is bounded: when both batches are full, log sources are paused.
 */
#ifndef OBS_AGENT_DELIVER_H
#define OBS_AGENT_DELIVER_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "common/err.h"
#include "logcore/logcore.h"
#include "wire/batch.h"
#include "obs_agent/config/config.h"
#include "obs_agent/outbox/outbox.h"

struct deliver;

struct deliver_events {
	/* The database's positions: at the first connect, when they are not what was sent
	 * (history was lost in a failover), and when a batch is to be made smaller. Log
	 * rows that are not committed are forgotten: read again from there. */
	/* False: not taken, out of memory; it is called again after the next hello. */
	bool (*positions)(void *data, const struct position *p, size_t n);
	void (*committed)(void *data, const struct batch *b);
	void (*resume)(void *data);             /* go on after a refused deliver_add() */
	void (*fenced)(void *data);             /* another agent took over: end */
	void (*changed)(void *data);            /* deliver_state() has news: connected, lost, the first commit */
	/* Append the agent's state as a JSON object; false: nothing to say. */
	bool (*state)(void *data, struct buf *out);
};

struct deliver_options {
	sd_event *loop;
	const struct config *config;    /* must outlive the delivery */
	struct logcore *log;
	const char *state_folder;       /* where samples wait for the database; NULL: in memory */
	int64_t spread_us;              /* connect after a random part of this */
};

int deliver_new(const struct deliver_options *o, const struct deliver_events *events, void *data,
		struct deliver **ret, struct err *e);
void deliver_free(struct deliver *d);

/* False: full; only log lines are ever refused. */
bool deliver_add(struct deliver *d, const struct sample *s);
bool deliver_set_position(struct deliver *d, const struct position *p);

/* Send what there is as soon as possible; and as deliver_finish(), that no more will come. */
void deliver_flush(struct deliver *d);
void deliver_finish(struct deliver *d);

/* Ask the database for its positions again, for a source that began late: positions()
 * follows when it has answered. */
void deliver_ask(struct deliver *d);

/* The agent's state has news that can't wait for the next metrics: send it, as soon as it may be sent again. */
void deliver_tell_state(struct deliver *d);

/* Nothing is held: everything that was taken is committed. */
bool deliver_idle(const struct deliver *d);

/* How it goes, for `status`, the unit's STATUS and the watchdog. */
struct deliver_state {
	bool connected;
	int64_t last_commit_us;         /* wall clock, 0: not yet */
	int64_t away_since_us;          /* wall clock, 0: connected */
	int64_t batches, rows;          /* committed by this process */
	int64_t rejects;                /* rows that the server refused */
	struct outbox_state outbox;
	struct deliver_outage {
		int64_t since_us, until_us;     /* wall clock; 0: there was none */
		int64_t samples, lost;          /* that waited at its end; that were given up in it */
	} outage;                       /* the last one that was worth telling */
	int64_t skew_us;
	const char *last_error;         /* "" when there was none since the last commit */
};
struct deliver_state deliver_state(const struct deliver *d);

/* The same in words, for the unit's STATUS. */
enum { DELIVER_WORDS_SIZE = 128 + ERR_MSG_MAX };
void deliver_state_words(const struct deliver_state *s, char *out, size_t size);

/* And appended as members of a JSON object, without braces. */
bool deliver_state_print(const struct deliver_state *s, struct buf *out);

#endif
