/* run.c - start and stop order, signals, reload, what systemd is told, and --once. */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "common/clock.h"
#include "common/log.h"
#include "agent_life.h"
#include "obs_agent/notice/notice.h"
#include "common/loop/notify.h"
#include "status.h"

enum {
	STOP_WITHIN_S = 4,              /* the unit gives five */
	ONCE_WITHIN_S = 60,
	ROUND_EVERY_MS = 100,           /* --once: how often to check whether the round is over */
};

struct run {
	struct run_options options;
	struct config config;
	struct logcore *log;
	sd_event *loop;
	struct agent_life life;
	struct agent *agent;
	struct status_server *status, *reload;
	struct notify *notify;
	sd_event_source *round_timer, *stop_timer;
	int64_t started_us; /* monotonic */
	bool stopping;
	char refused[ERR_MSG_MAX];      /* why the last reload was refused; "": it was not */
};

static bool once(const struct run *r)
{
	return r->options.once || r->options.dry_run;
}

/* ---- ends ---- */

static int on_stop_deadline(sd_event_source *s, uint64_t usec, void *data)
{
	struct run *r = data;
	struct deliver_state state = agent_deliver_state(r->agent);

	(void)s;
	(void)usec;
	if (r->options.once && !r->stopping) {
		logcore_error(r->log, "no commit within 60 s", logcore_kv("error", state.last_error));
		return sd_event_exit(r->loop, RUN_UNAVAILABLE);
	}
	logcore_info(r->log, "stopped before the last commit; nothing is lost that a file still holds",
		     logcore_kv("pending", state.outbox.samples),
		     logcore_kv("in_memory", state.outbox.in_memory));
	return sd_event_exit(r->loop, RUN_OK);
}

static void stop_if_done(void *data)
{
	struct run *r = data;

	if (r->stopping && agent_idle(r->agent))
		sd_event_exit(r->loop, RUN_OK);
}

/* Send everything that is held, and exit when it is committed, or after 4 s. */
static int on_stop_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *data)
{
	struct run *r = data;

	(void)s;
	(void)si;
	if (r->stopping)
		return 0;
	r->stopping = true;
	notify_free(r->notify);
	r->notify = NULL;
	sd_notify(0, "STOPPING=1\nSTATUS=stopping: writing what is held");
	agent_finish(r->agent, true);
	sd_event_source_disable_unref(r->stop_timer);
	r->stop_timer = NULL;
	if (sd_event_add_time_relative(r->loop, &r->stop_timer, CLOCK_MONOTONIC, STOP_WITHIN_S * US_PER_S, 0,
				       on_stop_deadline, r) < 0)
		return sd_event_exit(r->loop, RUN_OK);
	stop_if_done(r);
	return 0;
}

static void on_fenced(void *data)
{
	struct run *r = data;

	logcore_critical(r->log, "another agent writes as this server and application: this one ends",
			 logcore_kv("server", r->config.vps_name), logcore_kv("app", r->config.app));
	sd_notify(0, "STATUS=stopped: another agent with the same server and application name took over");
	sd_event_exit(r->loop, RUN_FENCED);
}

/* ---- reload ---- */

/* Destinations of the sentences that explain a refused reload. */
struct refusal {
	struct run *run;
	struct buf *answer;
	size_t n;
};

static void tell_mistake(void *data, const char *sentence)
{
	struct refusal *f = data;

	logcore_error(f->run->log,
		      f->n++ ? "the configuration has another mistake"
			     : "configuration not reloaded, the old one stays in force",
		      logcore_kv("error", sentence));
	(void)(buf_adds(f->answer, sentence) && buf_addc(f->answer, '\n'));
}

static void refuse_reload(struct run *r, const struct config_mistakes *m, struct buf *answer)
{
	config_mistakes_tell(m, tell_mistake, &(struct refusal){ r, answer, 0 });
	snprintf(r->refused, sizeof r->refused, "%s", m->e[0].msg);
}

/* A running agent can't change its identity: that takes a restart. */
static int check_identity(const struct config *old, const struct config *fresh, struct err *e)
{
	const char *changed = !fresh->enabled ? "enabled" :
			      strcmp(old->vps_name, fresh->vps_name) != 0 ? "vps_name" :
			      strcmp(old->postgres_url, fresh->postgres_url) != 0 ? "postgres_url" : NULL;

	if (!changed)
		return 0;
	return err_set(e, EINVAL, "%s has changed, and that needs a restart: systemctl restart obs-agent@%s",
		       changed, old->app);
}

static int load_fresh(const struct run *r, struct config *ret, struct config_mistakes *m)
{
	int result = config_load(r->options.config_path, r->options.app, ret, m);

	if (result < 0)
		return result;
	result = check_identity(&r->config, ret, &m->e[0]);
	if (result == 0)
		result = notice_check(ret, &m->e[0]);
	m->n = result < 0;
	if (result < 0)
		config_free(ret);
	return result;
}

static void take_fresh(struct run *r, const struct config *fresh)
{
	struct config old = r->config;

	r->config = *fresh;
	log_set_level(r->log, fresh->log_level);
	agent_reload(r->agent);
	config_free(&old);
	r->refused[0] = '\0';
	logcore_info(r->log, "configuration reloaded");
}

static bool reload(void *data, struct buf *answer)
{
	struct run *r = data;
	struct config_mistakes mistakes;
	struct config fresh;

	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, mono_us());
	if (load_fresh(r, &fresh, &mistakes) < 0) {
		refuse_reload(r, &mistakes, answer);
	} else {
		take_fresh(r, &fresh);
		(void)buf_adds(answer, STATUS_RELOADED);
	}
	sd_notify(0, "READY=1");
	notify_changed(r->notify);
	return true;
}

static int on_reload_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *data)
{
	struct buf nobody = BUF(0);

	(void)s;
	(void)si;
	(void)reload(data, &nobody);
	return 0;
}

/* ---- how it goes ---- */

static bool status(void *data, struct buf *out)
{
	struct run *r = data;

	return buf_addf(out, "{\"uptime_s\":%" PRId64 ",", (mono_us() - r->started_us) / US_PER_S) &&
	       agent_state_members(r->agent, out) && buf_adds(out, "}\n");
}

static void status_words(void *data, char *out, size_t size)
{
	struct run *r = data;
	struct deliver_state d = agent_deliver_state(r->agent);
	char delivery[DELIVER_WORDS_SIZE];

	deliver_state_words(&d, delivery, sizeof delivery);
	snprintf(out, size, "%s%s%s", delivery, r->refused[0] ? "; the last reload was refused: " : "",
		 r->refused);
}

static void on_committed(void *data)
{
	struct run *r = data;

	notify_refresh(r->notify);
	stop_if_done(r);
}

static void on_changed(void *data)
{
	struct run *r = data;

	notify_changed(r->notify);
}

/* ---- one round ---- */

static int on_round(sd_event_source *s, uint64_t usec, void *data)
{
	struct run *r = data;

	(void)usec;
	if (agent_round_is_over(r->agent)) {
		agent_finish(r->agent, false);
		if (agent_idle(r->agent))
			return sd_event_exit(r->loop, RUN_OK);
	}
	return sd_event_source_set_time_relative(s, ROUND_EVERY_MS * US_PER_MS);
}

static int start_round(struct run *r)
{
	int x = sd_event_add_time_relative(r->loop, &r->round_timer, CLOCK_MONOTONIC, 0, 0, on_round, r);

	if (x >= 0)
		x = sd_event_source_set_enabled(r->round_timer, SD_EVENT_ON);
	if (x >= 0 && !r->options.dry_run)
		x = sd_event_add_time_relative(r->loop, &r->stop_timer, CLOCK_MONOTONIC,
					       ONCE_WITHIN_S * US_PER_S, 0, on_stop_deadline, r);
	return x;
}

/* ---- start and stop ---- */

static int start_loop(struct run *r)
{
	sigset_t mask;
	int x;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	x = sd_event_new(&r->loop);
	if (x >= 0)
		x = sd_event_add_signal(r->loop, NULL, SIGTERM, on_stop_signal, r);
	if (x >= 0)
		x = sd_event_add_signal(r->loop, NULL, SIGINT, on_stop_signal, r);
	if (x >= 0)
		x = sd_event_add_signal(r->loop, NULL, SIGHUP, on_reload_signal, r);
	if (x >= 0)
		x = sd_event_set_watchdog(r->loop, true);
	return x >= 0 && once(r) ? start_round(r) : x;
}

/* Answer `obs_agent status` and `obs_agent reload`, and keep systemd informed. */
static int start_answers(struct run *r, struct err *e)
{
	const struct status_answerer asked = { ASK_STATUS, status, r }, told = { ASK_RELOAD, reload, r };
	int x = status_listen(r->loop, r->config.app, &asked, &r->status, e);

	if (x >= 0)
		x = status_listen(r->loop, r->config.app, &told, &r->reload, e);
	return x < 0 ? x : notify_new(r->loop, status_words, r, &r->notify, e);
}

static int start(struct run *r, struct err *e)
{
	int x = start_loop(r);

	if (x < 0)
		return err_set(e, -x, "cannot make the event loop: %s", strerror(-x));
	r->life = (struct agent_life){ .loop = r->loop,
				       .config = &r->config,
				       .log = r->log,
				       .once = r->options.once,
				       .dry_run = r->options.dry_run,
				       .data = r,
				       .committed = on_committed,
				       .fenced = on_fenced,
				       .changed = on_changed };
	x = agent_start(&r->life, &r->agent, e);
	return x < 0 || once(r) ? x : start_answers(r, e);
}

static void stop(struct run *r)
{
	notify_free(r->notify);
	status_close(r->reload);
	status_close(r->status);
	agent_stop(r->agent);
	sd_event_source_disable_unref(r->round_timer);
	sd_event_source_disable_unref(r->stop_timer);
	sd_event_unref(r->loop);
}

static int run_agent(struct run *r)
{
	struct err e;
	int x = start(r, &e);

	if (x < 0) {
		logcore_critical(r->log, "cannot start", logcore_kv("error", e.msg));
		stop(r);
		return RUN_FAILED;
	}
	logcore_info(r->log, "started", logcore_kv("version", OBSERV_VERSION),
		     logcore_kv("server", r->config.vps_name), logcore_kv("app", r->config.app),
		     logcore_kv("log_files", r->config.n_log_files),
		     logcore_kv("checks", r->config.n_checks));
	sd_notify(0, "READY=1\nSTATUS=connecting to the database");
	x = sd_event_loop(r->loop);
	logcore_info(r->log, "stopped", logcore_kv("exit", x));
	stop(r);
	return x < 0 ? RUN_FAILED : x;
}

static void log_mistake(void *data, const char *sentence)
{
	logcore_critical(data, "bad configuration", logcore_kv("error", sentence));
}

static int refuse_start(struct logcore *log, const struct config_mistakes *m)
{
	bool passes = err_passes(&m->e[0]);

	sd_notifyf(0, "STATUS=not started: %s", m->e[0].msg);
	if (passes)
		logcore_critical(log, "cannot read the configuration", logcore_kv("error", m->e[0].msg));
	else
		config_mistakes_tell(m, log_mistake, log);
	return passes ? RUN_FAILED : RUN_CONFIG;
}

int run(const struct run_options *o)
{
	struct run r = { .options = *o, .started_us = mono_us() };
	struct config_mistakes mistakes;
	int x = config_load(o->config_path, o->app, &r.config, &mistakes);

	r.log = log_open("obs_agent", x < 0 ? NULL : r.config.log_level);
	if (x < 0) {
		x = refuse_start(r.log, &mistakes);
	} else if (!r.config.enabled) {
		logcore_info(r.log,
			     "monitoring is not enabled for this application: set monitoring.enabled to true",
			     logcore_kv("app", o->app), logcore_kv("config", o->config_path));
		sd_notify(0, "READY=1\nSTATUS=not enabled in the configuration");
	} else {
		x = run_agent(&r);
	}
	config_free(&r.config);
	logcore_close(r.log);
	return x;
}
