/*
 * question.h - what the watcher asks the database again and again: one at a time, its failure logged once.
 *
 * Leaves out the question itself (watch_db.h) and what its answer means.
 */
#ifndef FLEET_WATCH_QUESTION_H
#define FLEET_WATCH_QUESTION_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "common/err.h"
#include "logcore/logcore.h"

struct question {
	const char *failed;        /* the log's words for a failure */
	bool asking;               /* not answered yet */
	bool changed;              /* the last answer went well and the one before did not, or the reverse */
	char trouble[ERR_MSG_MAX]; /* of the last answer; "": none */
};

/* The answer is there: as watch_db_answer() gets it. Returns whether it has rows. */
bool question_answered(struct question *q, struct logcore *log, const PGresult *r, bool lost,
		       const struct err *e);

#endif
