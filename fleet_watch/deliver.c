#include "deliver.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/embed.h"
#include "common/json/json_get.h"
#include "question.h"
#include "send.h"

EMBED(sql_sent, "fleet_watch/sql/sent.sql");
EMBED(sql_failed, "fleet_watch/sql/failed.sql");
EMBED(sql_take, "fleet_watch/sql/take.sql");
EMBED(sql_test, "fleet_watch/sql/test.sql");

enum { IDS_MAX = 64 * 1024 }; /* bytes of the ids of all messages under way */

/* One message, from when it was taken until the database has its outcome. */
struct delivery {
	struct deliver *deliver;
	struct delivery *next;
	struct send *send;
	bool over; /* its outcome is to be told to the database */
	bool told; /* and is under way there */
	int64_t begin_us;
};

struct deliver {
	struct deliver_setup s;
	struct delivery *first;
	size_t n;
	struct question take;
	int64_t asked_us; /* monotonic: when messages were asked for */
};

/* ---- outcomes ----------------------------------------------------------------------------- */

static void take_out(struct delivery *x)
{
	struct deliver *d = x->deliver;

	for (struct delivery **at = &d->first; *at; at = &(*at)->next)
		if (*at == x) {
			*at = x->next;
			break;
		}
	d->n--;
}

static void free_delivery(struct delivery *x)
{
	send_free(x->send);
	free(x);
}

static void remove_delivery(struct delivery *x)
{
	take_out(x);
	free_delivery(x);
}

static void on_told(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct delivery *x = data;
	struct deliver *d = x->deliver;
	const struct message *m = send_message(x->send);
	const struct verdict *v = send_verdict(x->send);
	const struct deliver_outcome o = { m->channel, v->what == ACCEPTED, v->why };

	x->told = false;
	if (lost)
		return; /* told again when the database is there */
	if (!r)
		logcore_error(d->s.log, "the database does not take the outcome of a message",
			      logcore_kv("notification", m->id), logcore_kv("error", e->msg));
	take_out(x); /* its place is free */
	d->s.ended(d->s.data, &o);
	free_delivery(x);
}

static void tell(struct delivery *x)
{
	static const char *const words[] = {
		[LATER] = "retry",           [THIS_LATER] = "retry",         [AGAIN] = "retry",
		[NOT_THIS_PART] = "message", [NOT_THIS_MESSAGE] = "message", [NOT_THIS_CHANNEL] = "channel"
	};
	const struct deliver *d = x->deliver;
	const struct verdict *v = send_verdict(x->send);
	const char *id = send_message(x->send)->id, *progress = send_progress(x->send);
	char after[32];
	const char *sent[] = { id, progress, *v->why ? v->why : NULL };
	const char *failed[] = {
		id, d->s.watcher, words[v->what], v->why, v->retry_after_s > 0 ? after : NULL, progress
	};

	snprintf(after, sizeof after, "%.0f", v->retry_after_s);
	x->told = true;
	if (v->what == ACCEPTED)
		watch_db_ask(d->s.db, sql_sent, 3, sent, on_told, x);
	else
		watch_db_ask(d->s.db, sql_failed, 6, failed, on_told, x);
}

static void log_outcome(const struct delivery *x)
{
	struct logcore *log = x->deliver->s.log;
	const struct message *m = send_message(x->send);
	const struct verdict *v = send_verdict(x->send);
	int64_t ms = (mono_us() - x->begin_us) / US_PER_MS;
	int64_t attempt = json_object_get_int64(json_get(m->row, "attempts"));

	if (v->what == ACCEPTED && !*v->why)
		logcore_info(log, "message delivered", logcore_kv("channel", m->channel),
			     logcore_kv("kind", m->kind), logcore_kv("notification", m->id),
			     logcore_kv("attempt", attempt), logcore_kv("ms", ms));
	else
		logcore_warning(log,
				v->what == ACCEPTED ? "message delivered in part" : "message not delivered",
				logcore_kv("channel", m->channel), logcore_kv("kind", m->kind),
				logcore_kv("notification", m->id), logcore_kv("attempt", attempt),
				logcore_kv("error", v->why));
}

static void on_over(void *data, bool mine, const char *why)
{
	struct delivery *x = data;
	const struct message *m = send_message(x->send);

	if (!mine) {
		logcore_warning(x->deliver->s.log, "a message is left to another watcher",
				logcore_kv("channel", m->channel), logcore_kv("notification", m->id),
				logcore_kv("why", why));
		remove_delivery(x);
		return;
	}
	x->over = true;
	log_outcome(x);
	tell(x);
}

/* ---- messages ----------------------------------------------------------------------------- */

static void begin(struct deliver *d, struct json_object *row)
{
	const struct send_setup setup = { d->s.glue, d->s.conf, d->s.db, d->s.watcher, on_over };
	int64_t lease_until_us = d->asked_us + send_lease_s(d->s.conf) * US_PER_S;
	struct delivery *x = calloc(1, sizeof *x);
	struct err e;

	if (!x) {
		json_object_put(row);
		return; /* its lease runs out */
	}
	*x = (struct delivery){ .deliver = d, .next = d->first, .begin_us = mono_us() };
	x->send = send_new(&setup, row, lease_until_us, x, &e);
	if (!x->send) {
		logcore_error(d->s.log, "a message can't be read", logcore_kv("error", e.msg));
		free(x);
		return;
	}
	d->first = x;
	d->n++;
	send_begin(x->send);
}

static void begin_all(struct deliver *d, const PGresult *r, const struct err *e)
{
	for (int i = 0; i < (r ? PQntuples(r) : 0); i++) {
		struct json_object *row = json_tokener_parse(PQgetvalue(r, i, 0));

		if (row)
			begin(d, row);
	}
	d->s.taken(d->s.data, r ? PQntuples(r) : -1, e);
}

static void on_taken(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct deliver *d = data;

	question_answered(&d->take, d->s.log, r, lost, e);
	begin_all(d, r, e);
}

/* Whoever wants the test says what is wrong. */
static void on_test_taken(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct deliver *d = data;

	(void)lost;
	d->take.asking = false;
	begin_all(d, r, e);
}

static void ask(struct deliver *d, const char *sql, const char *const params[4], watch_db_answer *answer)
{
	d->take.asking = true;
	d->asked_us = mono_us();
	watch_db_ask(d->s.db, sql, 4, params, answer, d);
}

/* An array of PostgreSQL. */
static bool add_ids(const struct deliver *d, struct buf *out)
{
	bool ok = buf_addc(out, '{');

	for (const struct delivery *x = d->first; x && ok; x = x->next)
		ok = buf_addf(out, "%s%s", x == d->first ? "" : ",", send_message(x->send)->id);
	return ok && buf_addc(out, '}') && buf_cstr(out);
}

void deliver_take(struct deliver *d)
{
	size_t all = (size_t)d->s.conf->parallel;
	CLEANUP(buf_free) struct buf ids = BUF(IDS_MAX);
	char room[32], lease[32];

	if (d->take.asking || d->n >= all || !add_ids(d, &ids))
		return;
	snprintf(room, sizeof room, "%zu", all - d->n);
	snprintf(lease, sizeof lease, "%" PRId64, send_lease_s(d->s.conf));
	ask(d, sql_take, (const char *const[]){ d->s.watcher, room, lease, ids.data }, on_taken);
}

void deliver_test(struct deliver *d, const char *channel)
{
	char lease[32];

	snprintf(lease, sizeof lease, "%" PRId64, send_lease_s(d->s.conf));
	ask(d, sql_test, (const char *const[]){ channel, "fleet_watch test", d->s.watcher, lease },
	    on_test_taken);
}

void deliver_database_up(struct deliver *d)
{
	struct delivery *next;

	for (struct delivery *x = d->first; x; x = next) {
		next = x->next;
		if (!x->over)
			send_database_up(x->send);
		else if (!x->told)
			tell(x);
	}
}

size_t deliver_count(const struct deliver *d)
{
	return d ? d->n : 0;
}

bool deliver_takes(const struct deliver *d)
{
	return d->take.asking;
}

struct deliver *deliver_new(const struct deliver_setup *s)
{
	struct deliver *d = calloc(1, sizeof *d);

	if (d)
		*d = (struct deliver){ .s = *s, .take = { .failed = "messages are not taken" } };
	return d;
}

void deliver_free(struct deliver *d)
{
	while (d && d->first)
		remove_delivery(d->first);
	free(d);
}
