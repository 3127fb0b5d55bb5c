/*
 * src_check.c - HTTP health checks, each on its own schedule.
 *
 * A check runs at fixed points of the monotonic clock, one interval apart and shifted
 * by a hash of the server's name and the URL as it is shown, so that neither the checks
 * of one agent nor those of a fleet start together. A run may take several attempts;
 * a further attempt is made only if it ends before the next run is due, so that the
 * interval holds whatever hangs. At most MAX_PARALLEL attempts run at once; checks that
 * succeeded last time go first, so that hanging ones delay only each other. Runs that
 * had to be left out are counted in a gap row.
 */
#include <errno.h>
#include <inttypes.h>

#include "common/clock.h"
#include "common/hash.h"
#include "obs_agent/agent.h"
#include "check_attempt.h"
#include "obs_agent/source.h"

enum { MAX_PARALLEL = 16 };

static const int64_t FIRST_WITHIN_US = 5 * US_PER_S;    /* so that a new check is soon seen */
static const int64_t ACCURACY_US = 50 * US_PER_MS;
static const int64_t GAP_EVERY_US = 60 * US_PER_S;
static const int64_t NEVER = INT64_MAX;

struct check {
	struct checks *all;
	const struct check_config *c;
	uint64_t hash;
	int64_t due_us;                         /* this run was, or is, due at; monotonic */
	int64_t wake_us;                        /* next attempt, NEVER while one is under way */
	struct attempt *attempt;
	int attempts;                           /* of this run, begun */
	bool good;                              /* the last run succeeded */
	bool ran;
};

struct checks {
	struct agent *agent;
	sd_event_source *timer;
	struct curl_glue *glue;                 /* NULL until the first attempt */
	struct check **check;
	size_t n;
	bool once;                              /* --once: no further runs */
	uint64_t results, skipped;
	uint64_t skipped_unsaid;
	int64_t gap_us;                         /* no gap row before */
};

/* ---- when ----------------------------------------------------------------------------- */

/* The first of the check's fixed points that is not before t_us. */
static int64_t grid_after(int64_t t_us, int64_t interval_us, uint64_t hash)
{
	int64_t shift = (int64_t)(hash % (uint64_t)interval_us);
	int64_t past = (t_us - shift) % interval_us;

	if (past < 0)
		past += interval_us;
	return past == 0 ? t_us : t_us - past + interval_us;
}

/* After a run that was on a fixed point exactly one interval; after the first one,
 * or a new interval, between half of one and one and a half. */
static int64_t next_due(const struct check *k)
{
	if (k->all->once)
		return NEVER;
	return grid_after(k->due_us + k->c->interval_us / 2, k->c->interval_us, k->hash);
}

static int64_t first_due(const struct check *k, int64_t now_us)
{
	int64_t within = k->c->interval_us < FIRST_WITHIN_US ? k->c->interval_us : FIRST_WITHIN_US;

	return now_us + (int64_t)(k->hash % (uint64_t)within);
}

/* Would one more attempt be over before the next run is due? */
static bool retry_fits(const struct check *k, int64_t now_us)
{
	return k->attempts <= k->c->retries &&
	       now_us + k->c->retry_interval_us + k->c->timeout_us <= next_due(k);
}

static void arm(struct checks *s)
{
	int64_t wake = NEVER;

	for (size_t i = 0; i < s->n; i++)
		if (s->check[i]->wake_us < wake)
			wake = s->check[i]->wake_us;
	if (s->skipped_unsaid && s->gap_us < wake)
		wake = s->gap_us;
	if (wake != NEVER)
		sd_event_source_set_time(s->timer, (uint64_t)wake);
	sd_event_source_set_enabled(s->timer, wake == NEVER ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

/* ---- runs ----------------------------------------------------------------------------- */

static void skipped(struct checks *s, uint64_t runs)
{
	s->skipped += runs;
	s->skipped_unsaid += runs;
}

/* Plan the next run. If several came due meanwhile, the last is made at once and the
 * others are counted as lost. */
static void end_run(struct check *k, int64_t now_us)
{
	int64_t next = next_due(k);
	uint64_t lost = 0;

	if (next < now_us) {
		lost = (uint64_t)((now_us - next) / k->c->interval_us);
		next += (int64_t)lost * k->c->interval_us;
	}
	skipped(k->all, lost);
	k->due_us = k->wake_us = next;
	k->attempts = 0;
	k->ran = true;
}

static void report(struct check *k, const struct attempt_result *r)
{
	struct sample s = { .kind = SAMPLE_CHECK, .timestamp_us = r->begin_us, .check = r->sample };
	bool good = r->sample.error == CHECK_OK;

	s.check.url = text_of(k->c->shown_url);
	s.check.attempts = k->attempts;
	s.check.interval_us = k->c->interval_us;
	s.check.changed = !k->ran || good != k->good;
	logcore_debug(agent_log(k->all->agent), "check finished", logcore_kv("url", k->c->shown_url),
		      logcore_kv("good", good), logcore_kv("status", s.check.status_code),
		      logcore_kv("ms", s.check.response_ms), logcore_kv("attempts", s.check.attempts),
		      logcore_kv("error", good ? "" : s.check.error_message.s));
	agent_add(k->all->agent, &s);
	k->all->results++;
	k->good = good;
}

static void on_attempt(const struct attempt_result *r, void *data)
{
	struct check *k = data;
	int64_t now_us = mono_us();

	k->attempt = NULL;
	if (r->sample.error != CHECK_OK && retry_fits(k, now_us)) {
		k->wake_us = now_us + k->c->retry_interval_us;
	} else {
		if (r->ours)
			skipped(k->all, 1);
		else
			report(k, r);
		end_run(k, now_us);
	}
	arm(k->all);
}

static void begin_attempt(struct check *k)
{
	struct checks *s = k->all;

	if (!s->glue)
		curl_glue_new(agent_loop(s->agent), MAX_PARALLEL, &s->glue, NULL);
	if (s->glue)
		k->attempt = attempt_start(s->glue, k->c, k->good ? CURL_LANE_FAST : CURL_LANE_SLOW,
					   on_attempt, k);
	k->attempts++;
	k->wake_us = NEVER;
	logcore_trace(agent_log(s->agent), "check begins", logcore_kv("url", k->c->shown_url),
		      logcore_kv("attempt", k->attempts));
	if (k->attempt)
		return;
	skipped(s, 1);                          /* out of memory; try again at the next run */
	end_run(k, mono_us());
}

static void say_skipped(struct checks *s, int64_t now_us)
{
	struct sample gap = {
		.kind = SAMPLE_GAP,
		.timestamp_us = wall_us(),
		.gap = { .kind = "check_skipped", .lines = (int64_t)s->skipped_unsaid, .bytes = -1,
			 .detail = TEXT("Health checks were left out: too many hang, in their servers or "
					"in name servers, or the agent is short of memory or "
					"descriptors.") },
	};

	if (!s->skipped_unsaid || now_us < s->gap_us)
		return;
	agent_add(s->agent, &gap);
	s->skipped_unsaid = 0;
	s->gap_us = now_us + GAP_EVERY_US;
}

static int on_timer(sd_event_source *timer, uint64_t usec, void *data)
{
	struct checks *s = data;
	int64_t now_us = mono_us();

	(void)timer;
	(void)usec;
	for (size_t i = 0; i < s->n; i++)
		if (s->check[i]->wake_us <= now_us)
			begin_attempt(s->check[i]);
	say_skipped(s, now_us);
	arm(s);
	return 0;
}

/* ---- the list, and its change ----------------------------------------------------------- */

static void check_free(struct check *k)
{
	if (!k)
		return;
	attempt_cancel(k->attempt);
	free(k);
}

static struct check *check_new(struct checks *s, const struct check_config *c)
{
	struct check *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->all = s;
	k->c = c;
	k->hash = hash_str(HASH_START, agent_config(s->agent)->vps_name);
	k->hash = hash_str(hash_str(k->hash, c->shown_url), c->method);
	k->due_us = k->wake_us = first_due(k, mono_us());
	return k;
}

static bool same_or_null(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_headers(const char *const *a, const char *const *b)
{
	size_t i = 0;

	if (!a || !b)
		return (!a || !*a) && (!b || !*b);
	while (a[i] && b[i] && strcmp(a[i], b[i]) == 0)
		i++;
	return !a[i] && !b[i];
}

static bool same_config(const struct check_config *a, const struct check_config *b)
{
	return strcmp(a->url, b->url) == 0 && same_or_null(a->expect_body, b->expect_body) &&
	       same_headers(a->headers, b->headers) && a->n_expect_status == b->n_expect_status &&
	       memcmp(a->expect_status, b->expect_status, a->n_expect_status * sizeof a->expect_status[0]) ==
		       0 &&
	       a->interval_us == b->interval_us && a->timeout_us == b->timeout_us &&
	       a->retries == b->retries && a->retry_interval_us == b->retry_interval_us &&
	       a->max_redirects == b->max_redirects && a->verify_tls == b->verify_tls;
}

/* Take the check of that shown URL and method out of the old list. `old` points into the
 * previous configuration, which still lives. */
static struct check *take_old(struct check **old, size_t n, const struct check_config *c)
{
	for (size_t i = 0; i < n; i++) {
		struct check *k = old[i];

		if (k && strcmp(k->c->shown_url, c->shown_url) == 0 && strcmp(k->c->method, c->method) == 0) {
			old[i] = NULL;
			return k;
		}
	}
	return NULL;
}

/* The schedule continues. A run that began by other rules starts again; a shorter interval
 * does not wait for the end of a longer one. */
static void reconfigure(struct check *k, const struct check_config *c)
{
	int64_t now_us = mono_us();
	bool same = same_config(k->c, c);

	k->c = c;
	if (same && k->attempt)
		attempt_use(k->attempt, c);
	if (same)
		return;
	if (k->attempt || k->attempts) {
		attempt_cancel(k->attempt);
		k->attempt = NULL;
		k->attempts = 0;
		k->due_us = k->wake_us = now_us;
	} else if (k->wake_us > now_us + c->interval_us) {
		k->due_us = k->wake_us = grid_after(now_us, c->interval_us, k->hash);
	}
}

/* Fails only without memory; then the list ends before the check that did not fit. */
static int set_list(struct checks *s, struct err *e)
{
	const struct config *config = agent_config(s->agent);
	struct check **list = calloc(config->n_checks + 1, sizeof *list), **old = s->check;
	size_t n_old = s->n;
	int r = list ? 0 : err_set(e, ENOMEM, "health checks: not enough memory");

	s->n = 0;
	for (size_t i = 0; r == 0 && i < config->n_checks; i++) {
		const struct check_config *c = &config->checks[i];
		struct check *k = take_old(old, n_old, c);

		if (k)
			reconfigure(k, c);
		else
			k = check_new(s, c);
		if (k)
			list[s->n++] = k;
		else
			r = err_set(e, ENOMEM, "health checks: not enough memory");
	}
	s->check = list;
	for (size_t i = 0; i < n_old; i++)
		check_free(old[i]);
	free(old);
	return r;
}

/* ---- the source -------------------------------------------------------------------------- */

static void check_stop(void *state)
{
	struct checks *s = state;

	for (size_t i = 0; i < s->n; i++)
		check_free(s->check[i]);
	free(s->check);
	curl_glue_free(s->glue);
	sd_event_source_disable_unref(s->timer);
	free(s);
}

static int check_start(struct agent *a, void **ret_state, struct err *e)
{
	struct checks *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_set(e, ENOMEM, "health checks: not enough memory");
	s->agent = a;
	r = sd_event_add_time(agent_loop(a), &s->timer, CLOCK_MONOTONIC, 0, (uint64_t)ACCURACY_US,
			      on_timer, s);
	r = r < 0 ? err_set(e, -r, "health checks: no timer: %s", strerror(-r)) : set_list(s, e);
	if (r < 0) {
		check_stop(s);
		return r;
	}
	arm(s);
	*ret_state = s;
	return 0;
}

static void check_reload(void *state)
{
	struct checks *s = state;
	struct err e = { 0 };

	if (set_list(s, &e) < 0)
		logcore_error(agent_log(s->agent), e.msg);
	arm(s);
}

/* The first call makes every check due; further ones ask whether all are over. */
static bool check_once(void *state)
{
	struct checks *s = state;
	bool all = true;

	for (size_t i = 0; i < s->n; i++) {
		struct check *k = s->check[i];

		if (!s->once && !k->ran && !k->attempt && !k->attempts)
			k->due_us = k->wake_us = mono_us();
		all = all && k->ran;
	}
	s->once = true;
	arm(s);
	return all;
}

static bool check_status(void *state, struct buf *out)
{
	struct checks *s = state;
	size_t failing = 0;

	for (size_t i = 0; i < s->n; i++)
		failing += s->check[i]->ran && !s->check[i]->good;
	return buf_addf(out, "{\"checks\":%zu,\"failing\":%zu,\"running\":%zu,\"waiting\":%zu,"
			"\"results\":%" PRIu64 ",\"skipped\":%" PRIu64 "}",
			s->n, failing, s->glue ? curl_glue_running(s->glue) : 0,
			s->glue ? curl_glue_waiting(s->glue) : 0, s->results, s->skipped);
}

const struct source src_check = {
	.name = "check",
	.start = check_start,
	.reload = check_reload,
	.once = check_once,
	.status = check_status,
	.stop = check_stop,
};
