#include "watch.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/embed.h"
#include "common/log.h"
#include "common/loop/curl_glue.h"
#include "common/loop/notify.h"
#include "common/parse.h"
#include "common/pg/pg_tls.h"
#include "common/random.h"
#include "deliver.h"
#include "external.h"
#include "ping.h"
#include "watch_db.h"

EMBED(sql_lead, "fleet_watch/sql/lead.sql");
EMBED(sql_learn, "fleet_watch/sql/learn.sql");
EMBED(sql_evaluate, "fleet_watch/sql/evaluate.sql");
EMBED(sql_flush, "fleet_watch/sql/flush.sql");
EMBED(sql_take, "fleet_watch/sql/take.sql");
EMBED(sql_test, "fleet_watch/sql/test.sql");

enum {
	TICK_MS = 1000,       /* how often to look what is due */
	LEAD_EVERY_TICKS = 2, /* how often a watcher that stands by tries to lead */
	STOP_WITHIN_S = 10,   /* the unit gives fifteen */
	ONCE_WITHIN_S = 300,
	TEST_SPARE_S = 30,
	WATCHER_SIZE = 128,
	LEARN_MAX = 10,                 /* calls before an evaluation */
};

/* A question that is asked again only when it was answered. */
enum question { LEAD, LEARN, EVALUATE, FLUSH, TAKE, QUESTIONS };

struct watch {
	struct watch_options options;
	const struct watch_conf *conf;
	struct logcore *log;
	sd_event *loop;
	sd_event_source *tick, *stop_timer;
	struct curl_glue *glue;
	struct watch_db *db;
	struct deliver *deliver;
	struct external *external;
	struct ping *ping;
	struct notify *notify;
	char watcher[WATCHER_SIZE];
	bool asking[QUESTIONS];
	bool leads, stopping;
	unsigned ticks;
	int learned;                    /* calls before this evaluation */
	int64_t slot;         /* of the last evaluation: wall clock in units of the interval */
	int64_t flush_at_us;  /* monotonic */
	int64_t evaluated_us; /* wall clock; 0: not yet */
	int64_t asked_us;     /* monotonic: when the evaluation under way began */
	int64_t took_ms;
	uint64_t delivered, failed;
	bool once_evaluated, once_failed, once_empty;
	char trouble[QUESTIONS][ERR_MSG_MAX]; /* of the last answer; "": none */
	char away[ERR_MSG_MAX];               /* of the database; "": it is there */
};

static void look(struct watch *w);

static bool busy(const struct watch *w)
{
	for (int i = 0; i < QUESTIONS; i++)
		if (w->asking[i])
			return true;
	return deliver_count(w->deliver) > 0;
}

static void ask(struct watch *w, enum question q, const char *sql, int n, const char *const *params,
		watch_db_answer *answer)
{
	w->asking[q] = true;
	watch_db_ask(w->db, sql, n, params, answer, w);
}

/* Log what is wrong with a question, once as long as it stays the same. Returns whether all is well. */
static bool note(struct watch *w, enum question q, const PGresult *r, bool lost, const struct err *e)
{
	static const char *const failed[] = { [LEAD] = "the lock can't be asked for",
					      [LEARN] = "patterns of log lines are not learned",
					      [EVALUATE] = "alerts are not evaluated",
					      [FLUSH] = "groups of alerts are not flushed",
					      [TAKE] = "messages are not taken" };

	w->asking[q] = false;
	if (lost)
		return false;
	if (r && w->trouble[q][0])
		logcore_info(w->log, "the database does its part again", logcore_kv("before", failed[q]));
	else if (!r && strcmp(w->trouble[q], e->msg) != 0)
		logcore_error(w->log, failed[q], logcore_kv("error", e->msg));
	if (!r || w->trouble[q][0])
		notify_changed(w->notify);
	snprintf(w->trouble[q], sizeof w->trouble[q], "%s", r ? "" : e->msg);
	w->once_failed |= !r;
	return r;
}

/* ---- messages ----------------------------------------------------------------------------- */

static void on_taken(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct watch *w = data;

	note(w, TAKE, r, lost, e);
	for (int i = 0; i < (r ? PQntuples(r) : 0); i++) {
		struct json_object *row = json_tokener_parse(PQgetvalue(r, i, 0));

		if (row)
			deliver_begin(w->deliver, row);
	}
	w->once_empty = r && PQntuples(r) == 0;
	look(w);
}

static void take(struct watch *w)
{
	size_t under_way = deliver_count(w->deliver), all = (size_t)w->conf->parallel;
	char room[32], lease[32];
	const char *const params[] = { w->watcher, room, lease };

	if (w->asking[TAKE] || under_way >= all || w->stopping)
		return;
	snprintf(room, sizeof room, "%zu", all - under_way);
	snprintf(lease, sizeof lease, "%" PRId64, deliver_lease_s(w->conf));
	ask(w, TAKE, sql_take, 3, params, on_taken);
}

static int end_test(struct watch *w, const struct deliver_outcome *o)
{
	if (o->accepted && !*o->error)
		printf("%s: the peer has accepted the test\n", o->channel);
	else if (o->accepted)
		printf("%s: the peer has accepted the test, but not all of it: %s\n", o->channel, o->error);
	else
		printf("%s: the peer has not accepted the test: %s\n", o->channel, o->error);
	return sd_event_exit(w->loop, o->accepted ? WATCH_OK : WATCH_FAILED);
}

static void on_ended(void *data, const struct deliver_outcome *o)
{
	struct watch *w = data;

	if (o->accepted)
		w->delivered++;
	else
		w->failed++;
	w->once_failed |= !o->accepted;
	notify_refresh(w->notify);
	if (w->options.test)
		end_test(w, o);
	else if (w->leads)
		take(w);
}

/* ---- evaluation --------------------------------------------------------------------------- */

static void on_flushed(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct watch *w = data;
	double in_s = (double)w->conf->evaluate_every_s;

	if (note(w, FLUSH, r, lost, e) && PQntuples(r) && !PQgetisnull(r, 0, 0))
		parse_double(text_of(PQgetvalue(r, 0, 0)), &in_s);
	in_s = in_s < 0                                   ? 0
	       : in_s < (double)w->conf->evaluate_every_s ? in_s
							  : (double)w->conf->evaluate_every_s;
	w->flush_at_us = mono_us() + (int64_t)(in_s * (double)US_PER_S);
	w->once_evaluated = true;
	take(w);
}

static void flush(struct watch *w)
{
	if (!w->asking[FLUSH])
		ask(w, FLUSH, sql_flush, 0, NULL, on_flushed);
}

static void on_evaluated(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct watch *w = data;

	w->took_ms = (mono_us() - w->asked_us) / US_PER_MS;
	if (note(w, EVALUATE, r, lost, e)) {
		w->evaluated_us = wall_us();
		logcore_debug(w->log, "evaluated", logcore_kv("ms", w->took_ms),
			      logcore_kv("result", PQntuples(r) ? PQgetvalue(r, 0, 0) : ""));
		ping_send(w->ping);
	}
	notify_refresh(w->notify);
	if (!lost)
		flush(w);
}

/* Rules of patterns judge what was learned just before. */
static void on_learned(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct watch *w = data;
	const char *const params[] = { w->watcher };
	int64_t lines = 0;

	if (note(w, LEARN, r, lost, e) && PQntuples(r))
		parse_i64(text_of(PQgetvalue(r, 0, 0)), &lines);
	if (lines && ++w->learned < LEARN_MAX) {
		ask(w, LEARN, sql_learn, 0, NULL, on_learned);
		return;
	}
	w->asked_us = mono_us();
	ask(w, EVALUATE, sql_evaluate, 1, params, on_evaluated);
}

static void on_external(void *data)
{
	struct watch *w = data;

	w->learned = 0;
	ask(w, LEARN, sql_learn, 0, NULL, on_learned);
}

static void evaluate(struct watch *w)
{
	w->slot = wall_us() / US_PER_S / w->conf->evaluate_every_s;
	w->asking[EVALUATE] = true;
	external_ask(w->external);
}

/* ---- leading ------------------------------------------------------------------------------ */

static void on_lead(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct watch *w = data;
	bool leads = note(w, LEAD, r, lost, e) && PQntuples(r) && *PQgetvalue(r, 0, 0) == 't';

	if (leads && !w->leads)
		logcore_info(w->log, "leads from now on", logcore_kv("watcher", w->watcher));
	w->leads = leads;
	notify_changed(w->notify);
	if (w->options.once && r && !leads) {
		logcore_error(w->log, "another watcher leads");
		sd_event_exit(w->loop, WATCH_UNAVAILABLE);
		return;
	}
	if (leads)
		look(w);
}

/* --once: is all done that can be done now? */
static void end_once(struct watch *w)
{
	if (w->options.once && w->once_evaluated && w->once_empty && !busy(w))
		sd_event_exit(w->loop, w->once_failed ? WATCH_FAILED : WATCH_OK);
}

/* Do what is due. */
static void look(struct watch *w)
{
	if (!watch_db_is_up(w->db) || w->stopping || w->options.test)
		return;
	if (!w->leads) {
		if (!w->asking[LEAD] && w->ticks % LEAD_EVERY_TICKS == 0)
			ask(w, LEAD, sql_lead, 0, NULL, on_lead);
		return;
	}
	if (!w->asking[EVALUATE] && w->slot != wall_us() / US_PER_S / w->conf->evaluate_every_s &&
	    !(w->options.once && w->slot))
		evaluate(w);
	else if (!w->asking[EVALUATE] && mono_us() >= w->flush_at_us && !w->options.once)
		flush(w);
	if (w->options.once ? w->once_evaluated && !w->once_empty : true)
		take(w);
	end_once(w);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *data)
{
	struct watch *w = data;

	(void)usec;
	w->ticks++;
	if (w->stopping && !deliver_count(w->deliver))
		return sd_event_exit(w->loop, WATCH_OK);
	look(w);
	return sd_event_source_set_time_relative(s, TICK_MS * US_PER_MS);
}

/* ---- the database comes and goes ---------------------------------------------------------- */

static void on_test_taken(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct watch *w = data;

	w->asking[TAKE] = false;
	if (r && PQntuples(r) == 1) {
		deliver_begin(w->deliver, json_tokener_parse(PQgetvalue(r, 0, 0)));
		return;
	}
	fprintf(stderr, "fleet_watch: %s\n", r ? "the test was not taken" : e->msg);
	sd_event_exit(w->loop, lost ? WATCH_UNAVAILABLE : WATCH_FAILED);
}

static void take_test(struct watch *w)
{
	char lease[32];
	const char *const params[] = { w->options.test, "fleet_watch test", w->watcher, lease };

	snprintf(lease, sizeof lease, "%" PRId64, deliver_lease_s(w->conf));
	ask(w, TAKE, sql_test, 4, params, on_test_taken);
}

static void on_up(void *data)
{
	struct watch *w = data;

	if (w->away[0])
		logcore_info(w->log, "the database answers again");
	w->away[0] = '\0';
	deliver_database_up(w->deliver);
	notify_changed(w->notify);
	w->ticks = 0;
	if (w->options.test)
		take_test(w);
	else
		look(w);
}

static void on_down(void *data, const struct err *e)
{
	struct watch *w = data;

	if (strcmp(w->away, e->msg) != 0)
		logcore_warning(w->log, "the database does not answer", logcore_kv("error", e->msg));
	snprintf(w->away, sizeof w->away, "%s", e->msg);
	w->leads = false;
	notify_changed(w->notify);
	if (w->options.test || w->options.once) {
		if (w->options.test)
			fprintf(stderr, "fleet_watch: %s\n", e->msg);
		sd_event_exit(w->loop, WATCH_UNAVAILABLE);
	}
}

/* ---- start and stop ----------------------------------------------------------------------- */

static int on_stop_deadline(sd_event_source *s, uint64_t usec, void *data)
{
	struct watch *w = data;

	(void)s;
	(void)usec;
	if (w->stopping)
		logcore_info(w->log,
			     "stopped while messages were under way; another watcher sends them again",
			     logcore_kv("messages", deliver_count(w->deliver)));
	else
		fputs("fleet_watch: no end within the time\n", stderr);
	return sd_event_exit(w->loop, w->stopping ? WATCH_OK : WATCH_UNAVAILABLE);
}

/* What is under way gets a few seconds to end. */
static int on_stop_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *data)
{
	struct watch *w = data;

	(void)s;
	(void)si;
	if (w->stopping)
		return 0;
	w->stopping = true;
	notify_free(w->notify);
	w->notify = NULL;
	sd_notify(0, "STOPPING=1\nSTATUS=stopping: messages under way end");
	if (!deliver_count(w->deliver))
		return sd_event_exit(w->loop, WATCH_OK);
	w->stop_timer = sd_event_source_disable_unref(w->stop_timer);
	return sd_event_add_time_relative(w->loop, &w->stop_timer, CLOCK_MONOTONIC, STOP_WITHIN_S * US_PER_S,
					  0, on_stop_deadline, w);
}

static void status_words(void *data, char *out, size_t size)
{
	struct watch *w = data;
	const char *trouble = w->trouble[EVALUATE][0] ? w->trouble[EVALUATE] : w->trouble[FLUSH];
	char at[RFC3339_SIZE] = "";

	if (w->evaluated_us)
		format_rfc3339(at, w->evaluated_us);
	if (w->away[0])
		snprintf(out, size, "no database: %s", w->away);
	else if (!w->leads)
		snprintf(out, size, "standing by: another watcher leads");
	else
		snprintf(out, size,
			 "leading; evaluated at %.19sZ in %" PRId64 " ms; %zu message%s under way, %" PRIu64
			 " delivered%s%s",
			 at, w->took_ms, deliver_count(w->deliver),
			 plural((int64_t)deliver_count(w->deliver)), w->delivered, *trouble ? "; " : "",
			 trouble);
}

static int start_loop(struct watch *w)
{
	bool short_run = w->options.once || w->options.test;
	int64_t limit_s = w->options.test ? w->conf->delivery_timeout_s + TEST_SPARE_S : ONCE_WITHIN_S;
	sigset_t mask;
	int r;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_new(&w->loop);
	if (r >= 0)
		r = sd_event_add_signal(w->loop, NULL, SIGTERM, on_stop_signal, w);
	if (r >= 0)
		r = sd_event_add_signal(w->loop, NULL, SIGINT, on_stop_signal, w);
	if (r >= 0)
		r = sd_event_set_watchdog(w->loop, true);
	if (r >= 0)
		r = sd_event_add_time_relative(w->loop, &w->tick, CLOCK_MONOTONIC, 0, 50 * US_PER_MS, on_tick,
					       w);
	if (r >= 0)
		r = sd_event_source_set_enabled(w->tick, SD_EVENT_ON);
	if (r >= 0 && short_run)
		r = sd_event_add_time_relative(w->loop, &w->stop_timer, CLOCK_MONOTONIC,
					       (uint64_t)(limit_s * US_PER_S), 0, on_stop_deadline, w);
	return r;
}

static int start(struct watch *w, struct err *e)
{
	static const struct watch_db_events db_events = { on_up, on_down };
	int r = start_loop(w);

	if (r < 0)
		return err_set(e, -r, "cannot make the event loop: %s", strerror(-r));
	r = curl_glue_new(w->loop, (int)w->conf->parallel + 1, &w->glue, e);
	if (r == 0)
		r = watch_db_new(w->loop, w->conf->database_url, w->log, &db_events, w, &w->db, e);
	if (r == 0)
		r = external_new(&(struct external_setup){ w->loop, w->glue, w->conf, w->db, w->log,
							   on_external, w },
				 &w->external, e);
	if (r < 0)
		return r;
	w->deliver = deliver_new(
		&(struct deliver_setup){ w->glue, w->conf, w->db, w->log, w->watcher, on_ended, w });
	w->ping = ping_new(w->glue, w->conf, w->log);
	if (!w->deliver || !w->ping)
		return err_set(e, ENOMEM, "out of memory");
	return w->options.once || w->options.test ? 0 : notify_new(w->loop, status_words, w, &w->notify, e);
}

/* Threads of mails that nobody waits for may still use libcurl. */
static void stop(struct watch *w)
{
	bool under_way = deliver_count(w->deliver) > 0;

	notify_free(w->notify);
	deliver_free(w->deliver);
	ping_free(w->ping);
	external_free(w->external);
	watch_db_free(w->db);
	if (!under_way)
		curl_glue_free(w->glue);
	sd_event_source_disable_unref(w->tick);
	sd_event_source_disable_unref(w->stop_timer);
	sd_event_unref(w->loop);
}

/* A name that no other process has, also not this one's next life. */
static void name_watcher(struct watch *w)
{
	char host[64] = "";

	gethostname(host, sizeof host - 1);
	snprintf(w->watcher, sizeof w->watcher, "%s:%ld:%08" PRIx64, host, (long)getpid(),
		 random_u64() & 0xffffffff);
}

int watch_run(const struct watch_options *o, const struct watch_conf *conf)
{
	struct watch w = { .options = *o,
			   .conf = conf,
			   .log = log_open("fleet_watch", o->test ? "error" : conf->log_level) };
	char weakness[PG_TLS_SENTENCE_SIZE];
	struct err e;
	int r;

	name_watcher(&w);
	if (pg_tls_weakness(conf->database_url, weakness))
		logcore_warning(w.log, "the database connection is less protected than it could be",
				logcore_kv("why", weakness));
	r = start(&w, &e);
	if (r < 0) {
		logcore_critical(w.log, "cannot start", logcore_kv("error", e.msg));
		r = WATCH_FAILED;
	} else {
		logcore_info(w.log, "started", logcore_kv("version", OBSERV_VERSION),
			     logcore_kv("watcher", w.watcher));
		sd_notify(0, "READY=1\nSTATUS=connecting to the database");
		r = sd_event_loop(w.loop);
		logcore_info(w.log, "stopped", logcore_kv("exit", r));
	}
	stop(&w);
	logcore_close(w.log);
	return r < 0 ? WATCH_FAILED : r;
}
