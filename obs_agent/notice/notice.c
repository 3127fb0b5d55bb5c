#include "notice.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/channels/sending.h"
#include "common/clock.h"
#include "common/random.h"
#include "notice_message.h"
#include "notice_record.h"

enum {
	SPREAD_PARTS = 10,      /* agents of one database spread their messages over this part of the wait */
	START_GRACE_S = 30,     /* an agent that starts tries to connect for so long, whatever was before */
	SEEN_EVERY_S = 30,      /* how often the file notes that the agent waits ... */
	SEEN_FOR_S = 120,       /* ... and how old it may be, so that the wait goes on after a restart */
	RETRY_FIRST_S = 5,
	RETRY_LAST_S = 600,
	RETRY_AFTER_MAX_S = 86400,      /* that a peer may ask for */
	REQUEST_S = 30,
	PARALLEL = 2,
};

struct notice {
	struct notice_options o;
	struct curl_glue *glue;         /* NULL until the first message */
	sd_event_source *timer;
	struct notice_record record;
	bool known;                     /* the record is of an absence, or of a message that is to be sent */
	bool away;
	int64_t due_us;                 /* monotonic: when the absence is to be told */
	int64_t retry_us;               /* monotonic: no message before */
	int failures;                   /* of the message that is tried */
	bool given_up;                  /* the peer refuses this message for good */
	bool refused;                   /* the peer refuses all messages, until the next reload */
	struct sending *sending;        /* the message that is tried, or NULL */
	bool sends_over;                /* it says that the database is back */
	bool under_way;
	char why[ERR_MSG_MAX];          /* of the database's absence */
	char last_error[ERR_MSG_MAX];   /* of a message; "": none */
};

static void go_on(struct notice *n);

static const struct notify_config *notify(const struct notice *n)
{
	return &n->o.config->notify;
}

/* ---- the record --------------------------------------------------------------------------- */

static void save(struct notice *n)
{
	struct err e;

	if (notify(n)->channel && notice_record_save(n->o.state_folder, &n->record, &e) < 0)
		logcore_warning(n->o.log, "what people were told is not kept: a restart may tell it again",
				logcore_kv("error", e.msg));
}

static void forget(struct notice *n)
{
	n->known = false;
	notice_record_remove(n->o.state_folder);
}

static void forget_message(struct notice *n)
{
	sending_free(n->sending);
	n->sending = NULL;
	n->under_way = false;
	n->given_up = false;
	n->failures = 0;
	n->retry_us = 0;
}

/* The wait is spread, because all agents of a database lose it at the same time. */
static void plan(struct notice *n, int64_t least_us)
{
	int64_t wait_us = notify(n)->database_away_us, left_us = wait_us - (wall_us() - n->record.since_us);

	left_us = left_us > wait_us ? wait_us : left_us < least_us ? least_us : left_us;
	n->due_us = mono_us() + left_us + (int64_t)(random_u64() % (uint64_t)(wait_us / SPREAD_PARTS + 1));
}

static void begin_absence(struct notice *n)
{
	n->record = notice_record_new(wall_us());
	n->known = true;
	save(n);
	plan(n, 0);
}

/* ---- messages ----------------------------------------------------------------------------- */

static int64_t backoff_us(int failures)
{
	int64_t s = RETRY_FIRST_S;

	for (int i = 1; i < failures && s < RETRY_LAST_S; i++)
		s *= 2;
	s = s < RETRY_LAST_S ? s : RETRY_LAST_S;
	return s * US_PER_S / 2 + (int64_t)(random_u64() % (uint64_t)(s * US_PER_S / 2));
}

static void try_later(struct notice *n, const struct verdict *v)
{
	double asked_s = v->retry_after_s < RETRY_AFTER_MAX_S ? v->retry_after_s : RETRY_AFTER_MAX_S;
	int64_t wait_us = backoff_us(++n->failures);

	if (asked_s * (double)US_PER_S > (double)wait_us)
		wait_us = (int64_t)(asked_s * (double)US_PER_S);
	n->retry_us = mono_us() + wait_us;
}

/* The peer knows what the message says. */
static void accepted(struct notice *n)
{
	bool over = n->sends_over;

	logcore_info(n->o.log,
		     over ? "people were told that the database is back"
			  : "people were told that the database is away",
		     logcore_kv("channel", notify(n)->channel), logcore_kv("id", n->record.id));
	forget_message(n);
	n->last_error[0] = '\0';
	if (!over) {
		n->record.told = TOLD_YES;
		save(n);
		return;
	}
	forget(n);
	if (n->away)
		begin_absence(n);
}

/* A message about an absence that may have arrived is one that has to be taken back. */
static void not_accepted(struct notice *n, const struct verdict *v, bool went_out)
{
	logcore_warning(n->o.log,
			v->what == NOT_THIS_CHANNEL
				? "the channel of notify refuses for good: correct it, then reload the agent"
				: "a message about the database was not taken",
			logcore_kv("channel", notify(n)->channel), logcore_kv("error", v->why));
	snprintf(n->last_error, sizeof n->last_error, "%s", v->why);
	if (went_out && !n->sends_over && n->record.told == TOLD_NO) {
		n->record.told = TOLD_MAYBE;
		save(n);
	}
	n->refused = v->what == NOT_THIS_CHANNEL;
	n->given_up = v->what == NOT_THIS_MESSAGE;
	if (n->given_up && n->sends_over)
		forget(n);
	else
		try_later(n, v);
	if (!n->away && n->record.told == TOLD_NO)
		forget(n);              /* the database came back while the message was under way */
}

static void on_over(void *data, const struct verdict *v, bool went_out)
{
	struct notice *n = data;

	n->under_way = false;
	if (v->what == ACCEPTED)
		accepted(n);
	else
		not_accepted(n, v, went_out);
	go_on(n);
}

static int make_message(struct notice *n, bool over, struct err *e)
{
	struct sending_setup s = { .limits = { REQUEST_S, "", "allow" },
				   .trusted = true,
				   .over = on_over,
				   .data = n };
	int r = n->glue ? 0 : curl_glue_new(n->o.loop, PARALLEL, &n->glue, e);

	if (r < 0)
		return r;
	s.glue = n->glue;
	n->sends_over = over;
	if (!over && !n->record.told_us) {
		n->record.told_us = wall_us();
		save(n);
	}
	return sending_new(&s, notice_message(n->o.config, &n->record, over, n->why), &n->sending, e);
}

static void send_message(struct notice *n, bool over)
{
	struct verdict later = { .what = LATER, .retry_after_s = -1 };
	struct err e;

	if (n->sending && n->sends_over != over)
		forget_message(n);
	if (!n->sending && make_message(n, over, &e) < 0) {
		snprintf(later.why, sizeof later.why, "%s", e.msg);
		not_accepted(n, &later, false);
		return;
	}
	n->under_way = true;
	sending_begin(n->sending);      /* may call on_over() */
}

/* ---- what is due -------------------------------------------------------------------------- */

/* Monotonic: when a message is to be sent; 0: none is. */
static int64_t message_at(const struct notice *n)
{
	bool news = n->away ? n->record.told != TOLD_YES : n->record.told != TOLD_NO;
	int64_t at = n->away ? n->due_us : 1;

	if (!notify(n)->channel || !n->known || !news || n->under_way || n->given_up || n->refused)
		return 0;
	return at > n->retry_us ? at : n->retry_us;
}

/* Is it an absence that nobody was told of? */
static bool waits(const struct notice *n)
{
	return notify(n)->channel && n->known && n->away && n->record.told == TOLD_NO;
}

static void arm(struct notice *n, int64_t at_us)
{
	int64_t seen_us = mono_us() + SEEN_EVERY_S * US_PER_S;

	if (waits(n) && (!at_us || seen_us < at_us))
		at_us = seen_us;
	if (at_us)
		sd_event_source_set_time(n->timer, (uint64_t)at_us);
	sd_event_source_set_enabled(n->timer, at_us ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* Send what is due, or wait for it. */
static void go_on(struct notice *n)
{
	int64_t at = message_at(n);

	if (at && at <= mono_us())
		send_message(n, !n->away);
	arm(n, message_at(n));
}

static int on_timer(sd_event_source *s, uint64_t usec, void *data)
{
	struct notice *n = data;

	(void)s;
	(void)usec;
	if (waits(n)) {
		n->record.seen_us = wall_us();
		save(n);
	}
	go_on(n);
	return 0;
}

/* ---- what others tell --------------------------------------------------------------------- */

/* What nobody was told of needs no end. A message that is under way may still arrive: its end decides. */
static void database_is_back(struct notice *n)
{
	n->record.over_us = wall_us();
	if (!n->under_way)
		forget_message(n);
	if (n->record.told == TOLD_NO && !n->under_way)
		forget(n);
	else
		save(n);
}

/* If people have not heard yet that it was back, the absence goes on. */
static void database_is_away_again(struct notice *n)
{
	n->record.over_us = 0;
	if (!n->under_way)
		forget_message(n);
	save(n);
}

void notice_database(struct notice *n, bool away, const char *why)
{
	bool changed = n->away != away;

	if (away)
		snprintf(n->why, sizeof n->why, "%s", why);
	if (!changed)
		return;
	n->away = away;
	if (!away)
		database_is_back(n);
	else if (!n->known)
		begin_absence(n);
	else
		database_is_away_again(n);
	go_on(n);
}

void notice_reload(struct notice *n)
{
	n->refused = false;
	if (!n->under_way)
		forget_message(n);
	if (n->known) {
		plan(n, 0);
		save(n);
	}
	go_on(n);
}

/* ---- life --------------------------------------------------------------------------------- */

/* Goes on where the last process ended. If it ended long ago, and nobody was told, the database may have been
 * there meanwhile. */
static void take_up(struct notice *n)
{
	int64_t grace_us = START_GRACE_S * US_PER_S, wait_us = notify(n)->database_away_us;

	n->known = notify(n)->channel && notice_record_load(n->o.state_folder, &n->record);
	if (n->known && n->record.told == TOLD_NO &&
	    llabs(wall_us() - n->record.seen_us) > SEEN_FOR_S * US_PER_S)
		n->known = false;
	if (n->known)
		plan(n, grace_us < wait_us ? grace_us : wait_us);
	else
		begin_absence(n);
}

int notice_new(const struct notice_options *o, struct notice **ret, struct err *e)
{
	struct notice *n = calloc(1, sizeof *n);
	int r = notice_check(o->config, e);

	if (!n)
		return err_set(e, ENOMEM, "out of memory for notices");
	*n = (struct notice){ .o = *o, .away = true };
	if (r == 0) {
		r = sd_event_add_time(o->loop, &n->timer, CLOCK_MONOTONIC, 0, 100 * US_PER_MS, on_timer, n);
		r = r < 0 ? err_set(e, -r, "cannot make a timer: %s", strerror(-r)) : 0;
	}
	if (r < 0) {
		notice_free(n);
		return r;
	}
	take_up(n);
	go_on(n);
	*ret = n;
	return 0;
}

void notice_free(struct notice *n)
{
	if (!n)
		return;
	sending_free(n->sending);
	sd_event_source_disable_unref(n->timer);
	curl_glue_free(n->glue);
	free(n);
}

bool notice_print(const struct notice *n, struct buf *out)
{
	static const char *const words[] = { "no", "maybe", "yes" };
	const char *channel = notify(n)->channel;

	return buf_adds(out, "{\"channel\":") &&
	       (channel ? buf_add_json(out, text_of(channel)) : buf_adds(out, "null")) &&
	       buf_addf(out, ",\"told\":\"%s\",\"refused\":%s,\"last_error\":",
			words[n->known ? n->record.told : TOLD_NO], n->refused ? "true" : "false") &&
	       buf_add_json(out, text_of(n->last_error)) && buf_addc(out, '}');
}

int notice_check(const struct config *c, struct err *e)
{
	struct notice_record trial = notice_record_new(wall_us());

	if (!c->notify.channel)
		return 0;
	trial.told_us = trial.since_us;
	return sending_check(notice_message(c, &trial, false, ""), e) < 0 ? err_prefix(e, "notify") : 0;
}
