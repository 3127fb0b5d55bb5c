#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "deliver.h"
#include "run.h"
#include "status.h"

enum {
	STOP_WITHIN_S = 4,              /* the unit gives five */
	ONCE_WITHIN_S = 60,
	ROUND_EVERY_MS = 100,           /* --once: how often it is asked whether the round is over */
	START_SPREAD_MS = 1000,         /* agents that start together connect within so long */
	STATUS_EVERY_S = 30,
};

static const struct source *const sources[] = { &src_tail, &src_check, &src_proc };
enum { SOURCES = sizeof sources / sizeof *sources };

struct agent {
	struct run_options options;
	struct config config;
	struct logcore *log;
	sd_event *loop;
	struct deliver *deliver;        /* NULL: dry run */
	void *state[SOURCES];
	struct status_server *status;
	sd_event_source *round_timer, *stop_timer, *status_timer;
	bool round_done[SOURCES];
	bool stopping;
	struct buf line;                /* of a dry run */
};

/* ---- what sources may ask ---- */

sd_event *agent_loop(struct agent *a)
{
	return a->loop;
}

const struct config *agent_config(struct agent *a)
{
	return &a->config;
}

struct logcore *agent_log(struct agent *a)
{
	return a->log;
}

bool agent_add(struct agent *a, const struct sample *s)
{
	if (a->deliver)
		return deliver_add(a->deliver, s);
	buf_reset(&a->line);
	if (sample_print(s, &a->line))
		fwrite(a->line.data, 1, a->line.len, stdout);
	return true;
}

bool agent_advance(struct agent *a, const struct position *p)
{
	return !a->deliver || deliver_advance(a->deliver, p);
}

/* ---- what delivery tells ---- */

static bool on_positions(void *data, const struct position *p, size_t n)
{
	struct agent *a = data;
	bool taken = true;

	for (int i = 0; i < SOURCES; i++)
		if (a->state[i] && sources[i]->positions)
			taken &= sources[i]->positions(a->state[i], p, n);
	return taken;
}

static void stop_if_done(struct agent *a);

static void on_committed(void *data, const struct batch *b)
{
	struct agent *a = data;

	for (int i = 0; i < SOURCES; i++)
		if (a->state[i] && sources[i]->committed)
			sources[i]->committed(a->state[i], b);
	stop_if_done(a);
}

static void on_room(void *data)
{
	struct agent *a = data;

	for (int i = 0; i < SOURCES; i++)
		if (a->state[i] && sources[i]->room && !a->stopping)
			sources[i]->room(a->state[i]);
}

static void on_fenced(void *data)
{
	struct agent *a = data;

	logcore_critical(a->log, "another agent writes as this server and application: this one ends",
			 logcore_kv("server", a->config.vps_name), logcore_kv("app", a->config.app));
	sd_notify(0, "STATUS=stopped: another agent with the same server and application name took over");
	sd_event_exit(a->loop, RUN_FENCED);
}

/* Resident memory: the second number of /proc/self/statm, in pages. */
static int64_t rss_kb(void)
{
	CLEANUP(close_p) int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[128], *from, *to;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	int64_t pages = 0;

	text[n > 0 ? n : 0] = '\0';
	from = strchr(text, ' ');
	to = from ? strchr(from + 1, ' ') : NULL;
	if (to)
		parse_i64((struct text){ from + 1, (size_t)(to - from - 1) }, &pages);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* The state as it goes to the database and to `obs_agent status`. */
static bool state_json(void *data, struct buf *out)
{
	struct agent *a = data;
	struct deliver_state d = deliver_state(a->deliver);
	bool ok = buf_addf(out, "{\"version\":\"%s\",\"pid\":%d,\"rss_kb\":%" PRId64 ",", OBSERV_VERSION, (int)getpid(),
			   rss_kb());

	ok = ok && deliver_state_print(&d, out);
	for (int i = 0; i < SOURCES; i++)
		if (a->state[i] && sources[i]->status)
			ok = ok && buf_addf(out, ",\"%s\":", sources[i]->name) &&
			     sources[i]->status(a->state[i], out);
	return ok && buf_addc(out, '}');
}

static bool status_answer(void *data, struct buf *out)
{
	return state_json(data, out) && buf_addc(out, '\n');
}

/* ---- sources ---- */

static int start_source(struct agent *a, int i, struct err *e)
{
	int r = sources[i]->start(a, &a->state[i], e);

	return r < 0 ? err_prefix(e, "%s", sources[i]->name) : 0;
}

static void stop_source(struct agent *a, int i)
{
	if (a->state[i])
		sources[i]->stop(TAKE_PTR(a->state[i]));
}

static void reload_source(struct agent *a, int i)
{
	struct err e;

	if (a->state[i] && sources[i]->reload) {
		sources[i]->reload(a->state[i]);
		return;
	}
	stop_source(a, i);
	if (start_source(a, i, &e) < 0)
		logcore_error(a->log, "source did not start", logcore_kv("error", e.msg));
	else if (a->state[i] && sources[i]->positions && a->deliver)
		deliver_ask(a->deliver);        /* it missed those of the first connect */
}

/* ---- signals and ends ---- */

static void stop_if_done(struct agent *a)
{
	if (a->stopping && (!a->deliver || deliver_idle(a->deliver)))
		sd_event_exit(a->loop, RUN_OK);
}

static int on_stop_deadline(sd_event_source *s, uint64_t usec, void *data)
{
	struct agent *a = data;
	struct deliver_state state;

	(void)s;
	(void)usec;
	if (a->options.once && !a->stopping) {
		logcore_error(a->log, "no commit within 60 s",
			      logcore_kv("error", deliver_state(a->deliver).last_error));
		return sd_event_exit(a->loop, RUN_UNAVAILABLE);
	}
	state = deliver_state(a->deliver);
	logcore_info(a->log, "stopped before the last commit; nothing is lost that a file still holds",
		     logcore_kv("pending", state.outbox.samples), logcore_kv("in_memory", state.outbox.in_memory));
	return sd_event_exit(a->loop, RUN_OK);
}

/* Ask for what is held to be written, and end when it is, or after 4 seconds. */
static void begin_stop(struct agent *a)
{
	if (a->stopping)
		return;
	a->stopping = true;
	sd_notify(0, "STOPPING=1\nSTATUS=stopping: writing what is held");
	if (a->deliver)
		deliver_finish(a->deliver);
	sd_event_source_disable_unref(a->stop_timer);
	a->stop_timer = NULL;
	if (sd_event_add_time_relative(a->loop, &a->stop_timer, CLOCK_MONOTONIC, STOP_WITHIN_S * US_PER_S, 0,
				       on_stop_deadline, a) < 0)
		sd_event_exit(a->loop, RUN_OK);
	stop_if_done(a);
}

static int on_stop_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *data)
{
	(void)s;
	(void)si;
	begin_stop(data);
	return 0;
}

/* What can't change under a running agent: it is somebody else then. */
static bool same_identity(const struct config *x, const struct config *y)
{
	return strcmp(x->vps_name, y->vps_name) == 0 && strcmp(x->postgres_url, y->postgres_url) == 0;
}

static int on_reload_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *data)
{
	struct agent *a = data;
	struct config fresh, old;
	struct config_mistakes m;

	(void)s;
	(void)si;
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, mono_us());
	if (config_load(a->options.config_path, a->options.app, &fresh, &m) < 0) {
		logcore_error(a->log, "configuration not reloaded, the old one stays", logcore_kv("error", m.e[0].msg));
	} else if (!fresh.enabled || !same_identity(&a->config, &fresh)) {
		logcore_error(a->log, "configuration not reloaded: a change of enabled, vps_name or postgres_url "
				      "needs a restart");
		config_free(&fresh);
	} else {
		old = a->config;
		a->config = fresh;
		log_set_level(a->log, fresh.log_level);
		for (int i = 0; i < SOURCES; i++)
			reload_source(a, i);
		config_free(&old);
		logcore_info(a->log, "configuration reloaded");
	}
	sd_notify(0, "READY=1");
	return 0;
}

/* ---- STATUS= in words ---- */

static void notify_status(struct agent *a)
{
	struct deliver_state d = deliver_state(a->deliver);
	char words[DELIVER_WORDS_SIZE];

	deliver_state_words(&d, words, sizeof words);
	if (!a->stopping)
		sd_notifyf(0, "STATUS=%s", words);
}

static int on_status_timer(sd_event_source *s, uint64_t usec, void *data)
{
	(void)usec;
	notify_status(data);
	return sd_event_source_set_time_relative(s, STATUS_EVERY_S * US_PER_S);
}

/* ---- one round ---- */

static bool round_is_over(struct agent *a)
{
	bool over = true;

	for (int i = 0; i < SOURCES; i++) {
		if (a->state[i] && !a->round_done[i])
			a->round_done[i] = sources[i]->once(a->state[i]);
		over &= !a->state[i] || a->round_done[i];
	}
	return over;
}

static int on_round(sd_event_source *s, uint64_t usec, void *data)
{
	struct agent *a = data;

	(void)usec;
	if (round_is_over(a)) {
		if (a->deliver)
			deliver_finish(a->deliver);
		if (!a->deliver || deliver_idle(a->deliver))
			return sd_event_exit(a->loop, RUN_OK);
	}
	return sd_event_source_set_time_relative(s, ROUND_EVERY_MS * US_PER_MS);
}

/* ---- start and stop ---- */

static int start_loop(struct agent *a)
{
	bool once = a->options.once || a->options.dry_run;
	sigset_t mask;
	int r;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_new(&a->loop);
	if (r >= 0)
		r = sd_event_add_signal(a->loop, NULL, SIGTERM, on_stop_signal, a);
	if (r >= 0)
		r = sd_event_add_signal(a->loop, NULL, SIGINT, on_stop_signal, a);
	if (r >= 0)
		r = sd_event_add_signal(a->loop, NULL, SIGHUP, on_reload_signal, a);
	if (r >= 0)
		r = sd_event_set_watchdog(a->loop, true);
	if (r >= 0 && once)
		r = sd_event_add_time_relative(a->loop, &a->round_timer, CLOCK_MONOTONIC, 0, 0, on_round, a);
	if (r >= 0 && once)
		r = sd_event_source_set_enabled(a->round_timer, SD_EVENT_ON);
	if (r >= 0 && a->options.once)
		r = sd_event_add_time_relative(a->loop, &a->stop_timer, CLOCK_MONOTONIC,
					       ONCE_WITHIN_S * US_PER_S, 0, on_stop_deadline, a);
	if (r >= 0 && !once && getenv("NOTIFY_SOCKET")) {
		r = sd_event_add_time_relative(a->loop, &a->status_timer, CLOCK_MONOTONIC, US_PER_S, 0,
					       on_status_timer, a);
		if (r >= 0)
			r = sd_event_source_set_enabled(a->status_timer, SD_EVENT_ON);
	}
	return r;
}

static int start_delivery(struct agent *a, struct err *e)
{
	static const struct deliver_events events = { on_positions, on_committed, on_room, on_fenced, state_json };
	struct deliver_options o = { .loop = a->loop, .config = &a->config, .log = a->log,
				     .state_folder = getenv("STATE_DIRECTORY"),         /* set by systemd */
				     .spread_us = a->options.once ? 0 : START_SPREAD_MS * US_PER_MS };

	if (a->options.dry_run)
		return 0;
	return deliver_new(&o, &events, a, &a->deliver, e);
}

static int start(struct agent *a, struct err *e)
{
	int r = start_loop(a);

	if (r < 0)
		return err_set(e, -r, "cannot make the event loop: %s", strerror(-r));
	r = start_delivery(a, e);
	for (int i = 0; i < SOURCES && r >= 0; i++)
		r = start_source(a, i, e);
	if (r >= 0 && a->options.dry_run)
		on_positions(a, NULL, 0);
	if (r >= 0 && !a->options.once && !a->options.dry_run)
		r = status_listen(a->loop, a->config.app, status_answer, a, &a->status, e);
	return r;
}

static void stop(struct agent *a)
{
	status_close(a->status);
	for (int i = SOURCES - 1; i >= 0; i--)
		stop_source(a, i);
	deliver_free(a->deliver);
	sd_event_source_disable_unref(a->round_timer);
	sd_event_source_disable_unref(a->stop_timer);
	sd_event_source_disable_unref(a->status_timer);
	sd_event_unref(a->loop);
	buf_free(&a->line);
}

static int run_agent(struct agent *a)
{
	struct err e;
	int r = start(a, &e);

	if (r < 0) {
		logcore_critical(a->log, "cannot start", logcore_kv("error", e.msg));
		stop(a);
		return RUN_FAILED;
	}
	logcore_info(a->log, "started", logcore_kv("version", OBSERV_VERSION),
		     logcore_kv("server", a->config.vps_name), logcore_kv("app", a->config.app),
		     logcore_kv("log_files", a->config.n_log_files), logcore_kv("checks", a->config.n_checks));
	sd_notify(0, "READY=1\nSTATUS=connecting to the database");
	r = sd_event_loop(a->loop);
	logcore_info(a->log, "stopped", logcore_kv("exit", r));
	stop(a);
	return r < 0 ? RUN_FAILED : r;
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
	struct agent a = { .options = *o, .line = BUF(1 << 20) };
	struct config_mistakes mistakes;
	int r = config_load(o->config_path, o->app, &a.config, &mistakes);

	a.log = log_open("obs_agent", r < 0 ? NULL : a.config.log_level);
	if (r < 0) {
		r = refuse_start(a.log, &mistakes);
		logcore_close(a.log);
		return r;
	}
	if (!a.config.enabled) {
		logcore_info(a.log, "monitoring is not enabled for this application: set monitoring.enabled to true",
			     logcore_kv("app", o->app), logcore_kv("config", o->config_path));
		sd_notify(0, "READY=1\nSTATUS=not enabled in the configuration");
		r = RUN_OK;
	} else {
		r = run_agent(&a);
	}
	config_free(&a.config);
	logcore_close(a.log);
	return r;
}
