/*
 * check_attempt.h - one attempt of an HTTP check: from its configuration to a
 * result.
 *
 * Owns the libcurl handle. Promises that an attempt with all its redirects ends within
 * its timeout, that memory is bounded (check_verdict.h), and that attempts share
 * nothing: each has a new connection, TLS session and name lookup, since these are
 * part of what is checked, and no cookies of the one before. Speaks only http and
 * https, through no proxy. If a certificate is refused, a second handshake without a
 * request reads its date.
 */
#ifndef OBS_AGENT_CHECK_ATTEMPT_H
#define OBS_AGENT_CHECK_ATTEMPT_H

#include "obs_agent/config/config.h"
#include "common/loop/curl_glue.h"
#include "wire/sample.h"

/* libcurl resolves a name in a thread, which nothing can stop: with a name server that
 * does not answer it lives on after its attempt. With more threads than these
 * (and those that start in the same round) no further name is looked up. Of the unit's
 * 64 tasks some are left to checks in the fast lane, some to the rest of the agent. */
enum { CHECK_THREADS_SLOW = 24, CHECK_THREADS_FAST = 40 };

struct attempt;

struct attempt_result {
	struct check_sample sample;     /* without url and attempts; text lives during the call */
	int64_t begin_us;               /* wall clock; waiting for a free slot comes before it */
	bool ours;                      /* we were short of memory, threads or descriptors: it
					 * says nothing about the target */
};

typedef void (*attempt_done_fn)(const struct attempt_result *r, void *data);

/* Start, or queue. `done` is called once, unless attempt_cancel() comes first;
 * the attempt is gone when it returns. NULL: out of memory. `c` must live until
 * then, or be replaced by attempt_use(). */
struct attempt *attempt_start(struct curl_glue *g, const struct check_config *c, enum curl_lane lane,
			      attempt_done_fn done, void *data);

/* The same configuration at another place in memory. */
void attempt_use(struct attempt *a, const struct check_config *c);

/* Accepts NULL. Not from within `done`. */
void attempt_cancel(struct attempt *a);

#endif
