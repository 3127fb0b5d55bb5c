#include "watch.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/loop/curl_glue.h"
#include "common/loop/notify.h"
#include "common/parse.h"
#include "common/pg/pg_tls.h"
#include "common/random.h"
#include "deliver.h"
#include "evaluate.h"
#include "lead.h"
#include "watch_db.h"

enum {
	TICK_MS = 1000, /* how often at least to look what is due, and to ask for the lead */
	SOON_MS = 10,   /* how often at most */
	ACCURACY_MS = 5,
	STOP_WITHIN_S = 10, /* the unit gives fifteen */
	ONCE_WITHIN_S = 300,
	TEST_SPARE_S = 30,
	WATCHER_SIZE = 128,
};

struct watch {
	struct watch_options options;
	const struct watch_conf *conf;
	struct logcore *log;
	sd_event *loop;
	sd_event_source *tick, *stop_timer;
	struct curl_glue *glue;
	struct watch_db *db;
	struct lead *lead;
	struct evaluate *evaluate;
	struct deliver *deliver;
	struct notify *notify;
	char watcher[WATCHER_SIZE];
	bool stopping;
	int64_t asked_us; /* monotonic: when the lead was asked for */
	uint64_t delivered;
	bool once_failed, once_empty;
	char away[ERR_MSG_MAX]; /* of the database; "": it is there */
};

/* ---- what is due -------------------------------------------------------------------------- */

static bool busy(const struct watch *w)
{
	return lead_busy(w->lead) || evaluate_busy(w->evaluate) || deliver_exchanges(w->deliver) ||
	       deliver_count(w->deliver) > 0;
}

/* --once: is all done that can be done now? */
static void end_once(struct watch *w)
{
	bool failed = w->once_failed || evaluate_state(w->evaluate).failed;

	if (w->once_empty && !busy(w))
		sd_event_exit(w->loop, failed ? WATCH_FAILED : WATCH_OK);
}

static void look_once(struct watch *w)
{
	struct evaluate_state s = evaluate_state(w->evaluate);

	if (!s.begun || s.left)
		evaluate_due(w->evaluate);
	else if (s.over && !w->once_empty)
		deliver_exchange(w->deliver);
	end_once(w);
}

/* Messages are taken by who leads; with --once behind the evaluation. */
static bool may_take(void *data)
{
	struct watch *w = data;

	return watch_db_is_up(w->db) && lead_leads(w->lead) && !w->stopping && !w->options.test &&
	       (!w->options.once || evaluate_state(w->evaluate).over);
}

static void look(struct watch *w)
{
	if (!watch_db_is_up(w->db) || !lead_leads(w->lead) || w->stopping || w->options.test)
		return;
	if (w->options.once) {
		look_once(w);
		return;
	}
	evaluate_due(w->evaluate);
	deliver_exchange(w->deliver);
}

static void ask_lead(struct watch *w)
{
	if (!watch_db_is_up(w->db) || w->stopping || w->options.test || lead_busy(w->lead) ||
	    mono_us() - w->asked_us < TICK_MS * US_PER_MS)
		return;
	w->asked_us = mono_us();
	lead_ask(w->lead);
}

/* Each second, and when something is due. */
static int on_tick(sd_event_source *s, uint64_t usec, void *data)
{
	struct watch *w = data;
	int64_t next_us = TICK_MS * US_PER_MS, due_us;

	(void)usec;
	if (w->stopping && !deliver_count(w->deliver))
		return sd_event_exit(w->loop, WATCH_OK);
	ask_lead(w);
	look(w);
	if (watch_db_is_up(w->db))
		deliver_exchange(w->deliver); /* also what is left to tell when it does not lead any more */
	due_us = evaluate_next_us(w->evaluate);
	if (lead_leads(w->lead) && !w->options.once && due_us < next_us)
		next_us = due_us > SOON_MS * US_PER_MS ? due_us : SOON_MS * US_PER_MS;
	return sd_event_source_set_time_relative(s, (uint64_t)next_us);
}

/* ---- what the parts tell ------------------------------------------------------------------ */

static void on_lead(void *data, bool known)
{
	struct watch *w = data;

	notify_changed(w->notify);
	w->once_failed |= !known;
	if (w->options.once && !lead_leads(w->lead)) {
		if (known)
			logcore_error(w->log, "another watcher leads");
		sd_event_exit(w->loop, WATCH_UNAVAILABLE);
		return;
	}
	look(w);
}

static void on_flushed(void *data)
{
	struct watch *w = data;

	notify_refresh(w->notify);
	deliver_exchange(w->deliver);
}

static void on_taken(void *data, int n, const struct err *e)
{
	struct watch *w = data;

	w->once_empty = n == 0;
	w->once_failed |= n < 0;
	if (w->options.test && n != 1) {
		fprintf(stderr, "fleet_watch: %s\n", n < 0 ? e->msg : "the test was not taken");
		sd_event_exit(w->loop, WATCH_FAILED);
	}
	if (w->options.once)
		look(w);
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

	w->delivered += o->accepted;
	w->once_failed |= !o->accepted;
	notify_refresh(w->notify);
	if (w->options.test)
		end_test(w, o);
}

/* ---- the database comes and goes ---------------------------------------------------------- */

static void on_up(void *data)
{
	struct watch *w = data;

	if (w->away[0])
		logcore_info(w->log, "the database answers again");
	w->away[0] = '\0';
	deliver_database_up(w->deliver);
	evaluate_database_up(w->evaluate);
	notify_changed(w->notify);
	w->asked_us = 0;
	if (w->options.test)
		deliver_test(w->deliver, w->options.test);
	else
		ask_lead(w);
}

static void on_down(void *data, const struct err *e)
{
	struct watch *w = data;

	if (strcmp(w->away, e->msg) != 0)
		logcore_warning(w->log, "the database does not answer", logcore_kv("error", e->msg));
	snprintf(w->away, sizeof w->away, "%s", e->msg);
	lead_lost(w->lead);
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
	const struct evaluate_state s = evaluate_state(w->evaluate);
	int64_t n = (int64_t)deliver_count(w->deliver);
	char at[RFC3339_SIZE], evaluated[RFC3339_SIZE + 64] = "not evaluated yet";

	if (s.evaluated_us) {
		format_rfc3339(at, s.evaluated_us);
		snprintf(evaluated, sizeof evaluated, "evaluated at %.19sZ in %" PRId64 " ms", at, s.took_ms);
	}
	if (w->away[0])
		snprintf(out, size, "no database: %s", w->away);
	else if (*lead_trouble(w->lead))
		snprintf(out, size, "not leading: %s", lead_trouble(w->lead));
	else if (!lead_leads(w->lead))
		snprintf(out, size, "standing by: another watcher leads");
	else
		snprintf(out, size,
			 "leading; %s; %" PRId64 " message%s under way, %" PRIu64 " delivered%s%s", evaluated,
			 n, plural(n), w->delivered, *s.trouble ? "; " : "", s.trouble);
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
		r = sd_event_add_time_relative(w->loop, &w->tick, CLOCK_MONOTONIC, 0, ACCURACY_MS * US_PER_MS,
					       on_tick, w);
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
		r = evaluate_new(&(struct evaluate_setup){ w->loop, w->glue, w->conf, w->db, w->log,
							   w->watcher, on_flushed, w },
				 &w->evaluate, e);
	if (r < 0)
		return r;
	w->lead = lead_new(&(struct lead_setup){ w->db, w->log, w->watcher, on_lead, w });
	w->deliver = deliver_new(&(struct deliver_setup){ w->glue, w->conf, w->db, w->log, w->watcher,
							  may_take, on_taken, on_ended, w });
	if (!w->lead || !w->deliver)
		return err_set(e, ENOMEM, "out of memory");
	return w->options.once || w->options.test ? 0 : notify_new(w->loop, status_words, w, &w->notify, e);
}

/* Threads of mails that nobody waits for may still use libcurl. */
static void stop(struct watch *w)
{
	bool under_way = deliver_count(w->deliver) > 0;

	notify_free(w->notify);
	deliver_free(w->deliver);
	evaluate_free(w->evaluate);
	lead_free(w->lead);
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
