#include "deliver.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/embed.h"
#include "common/json/json.h"
#include "common/json/json_get.h"
#include "question.h"
#include "send.h"

EMBED(sql_exchange, "fleet_watch/sql/exchange.sql");
EMBED(sql_test, "fleet_watch/sql/test.sql");

enum {
	IDS_MAX = 64 * 1024, /* bytes of the ids of all messages under way */
	REFUSALS_MAX = 10,   /* after so many an outcome is told as a failure */
	LEASE_SIZE = 32,
};

/* One message, from when it was taken until the database has its outcome. */
struct delivery {
	struct deliver *deliver;
	struct delivery *next;
	struct send *send;
	bool over;    /* its outcome is to be told to the database */
	bool told;    /* and is under way there */
	int refusals; /* how often the database did not take it, when told alone */
	int64_t begin_us;
};

struct deliver {
	struct deliver_setup s;
	struct delivery *first;
	size_t n;
	struct question exchange;
	bool again;       /* something is to be told or asked when the exchange under way is over */
	bool alone;       /* the database refused outcomes: each is told by itself */
	size_t told;      /* outcomes in the exchange under way */
	size_t room;      /* messages that it asks for */
	int64_t asked_us; /* monotonic: when messages were asked for */
};

static void remove_delivery(struct delivery *x)
{
	struct deliver *d = x->deliver;

	for (struct delivery **at = &d->first; *at; at = &(*at)->next)
		if (*at == x) {
			*at = x->next;
			break;
		}
	d->n--;
	send_free(x->send);
	free(x);
}

/* ---- outcomes ----------------------------------------------------------------------------- */

static void add_text(struct json_object *o, const char *name, const char *value)
{
	json_object_object_add(o, name, json_object_new_string(value));
}

/* One element of exchange_notifications(). */
static struct json_object *outcome_of(const struct delivery *x)
{
	static const char *const words[] = {
		[ACCEPTED] = "sent",
		[LATER] = "retry",
		[THIS_LATER] = "retry",
		[AGAIN] = "retry",
		[NOT_THIS_PART] = "message",
		[NOT_THIS_MESSAGE] = "message",
		[NOT_THIS_CHANNEL] = "channel",
	};
	const struct message *m = send_message(x->send);
	const struct verdict *v = send_verdict(x->send);
	bool plain = x->refusals >= REFUSALS_MAX;
	struct json_object *o = json_object_new_object();

	add_text(o, "id", m->id);
	add_text(o, "what", plain ? "retry" : words[v->what]);
	if (plain)
		add_text(o, "why", "the database does not take the outcome of this message");
	else if (*v->why)
		add_text(o, "why", v->why);
	if (v->retry_after_s > 0)
		json_object_object_add(o, "retry_after_s", json_object_new_double(v->retry_after_s));
	json_object_object_add(o, "progress",
			       plain ? json_object_new_object() : json_object_get(m->progress));
	return o;
}

/* Those that nobody was told of, or the first of them. Marks them. */
static struct json_object *outcomes_of(struct deliver *d)
{
	struct json_object *list = json_object_new_array();

	d->told = 0;
	for (struct delivery *x = d->first; x; x = x->next) {
		if (!x->over || (d->alone && d->told))
			continue;
		json_object_array_add(list, outcome_of(x));
		x->told = true;
		d->told++;
	}
	return list;
}

/* The database has them. */
static void end_told(struct deliver *d)
{
	struct delivery *next;

	for (struct delivery *x = d->first; x; x = next) {
		const struct message *m = send_message(x->send);
		const struct verdict *v = send_verdict(x->send);
		const struct deliver_outcome o = { m->channel, v->what == ACCEPTED, v->why };

		next = x->next;
		if (!x->told)
			continue;
		d->s.ended(d->s.data, &o);
		remove_delivery(x);
	}
	d->alone = false;
}

/* It has not, or nobody knows: they are told again. One of several that it refuses is found by telling each
 * by itself. */
static void keep_told(struct deliver *d, bool refused)
{
	for (struct delivery *x = d->first; x; x = x->next) {
		if (refused && x->told && d->told == 1)
			x->refusals++;
		x->told = false;
	}
	d->alone = refused && d->told > 0;
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
	deliver_exchange(x->deliver);
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

static void begin_all(struct deliver *d, const PGresult *r)
{
	for (int i = 0; i < PQntuples(r); i++) {
		struct json_object *row = json_tokener_parse(PQgetvalue(r, i, 0));

		if (row)
			begin(d, row);
	}
}

static void on_exchanged(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct deliver *d = data;
	bool again = d->again;

	d->again = false;
	if (question_answered(&d->exchange, d->s.log, r, lost, e)) {
		again |= d->alone;
		end_told(d);
		begin_all(d, r);
	} else {
		keep_told(d, !lost);
		again = false; /* the next second, or when the database is there */
	}
	if (d->room || !r)
		d->s.taken(d->s.data, r ? PQntuples(r) : -1, e);
	if (again)
		deliver_exchange(d);
}

/* An array of PostgreSQL: the messages under way, but for those whose outcome is told. */
static bool add_held(const struct deliver *d, struct buf *out)
{
	const char *between = "";
	bool ok = buf_addc(out, '{');

	for (const struct delivery *x = d->first; x && ok; x = x->next) {
		if (x->told)
			continue;
		ok = buf_addf(out, "%s%s", between, send_message(x->send)->id);
		between = ",";
	}
	return ok && buf_addc(out, '}') && buf_cstr(out);
}

/* Seconds, as a parameter of a question. */
static void write_lease(const struct deliver *d, char out[LEASE_SIZE])
{
	snprintf(out, LEASE_SIZE, "%" PRId64, send_lease_s(d->s.conf));
}

void deliver_exchange(struct deliver *d)
{
	CLEANUP(json_p) struct json_object *outcomes = NULL;
	CLEANUP(buf_free) struct buf held = BUF(IDS_MAX);
	size_t all = (size_t)d->s.conf->parallel;
	char room[32], lease[LEASE_SIZE];

	if (d->exchange.asking) {
		d->again = true;
		return;
	}
	outcomes = outcomes_of(d);
	d->room = d->s.may_take(d->s.data) && d->n - d->told < all ? all - (d->n - d->told) : 0;
	if (!d->told && !d->room)
		return;
	if (!add_held(d, &held)) {
		keep_told(d, false);
		return;
	}
	snprintf(room, sizeof room, "%zu", d->room);
	write_lease(d, lease);
	d->exchange.asking = true;
	d->asked_us = mono_us();
	watch_db_ask(d->s.db, sql_exchange, 5,
		     (const char *const[]){ d->s.watcher, json_object_to_json_string(outcomes), room, lease,
					    held.data },
		     on_exchanged, d);
}

/* Whoever wants the test says what is wrong. */
static void on_test_taken(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct deliver *d = data;

	(void)lost;
	d->exchange.asking = false;
	if (r)
		begin_all(d, r);
	d->s.taken(d->s.data, r ? PQntuples(r) : -1, e);
}

void deliver_test(struct deliver *d, const char *channel)
{
	char lease[LEASE_SIZE];

	write_lease(d, lease);
	d->exchange.asking = true;
	d->asked_us = mono_us();
	watch_db_ask(d->s.db, sql_test, 4,
		     (const char *const[]){ channel, "fleet_watch test", d->s.watcher, lease }, on_test_taken,
		     d);
}

void deliver_database_up(struct deliver *d)
{
	struct delivery *next;

	for (struct delivery *x = d->first; x; x = next) {
		next = x->next;
		if (!x->over)
			send_database_up(x->send);
	}
	deliver_exchange(d);
}

size_t deliver_count(const struct deliver *d)
{
	return d ? d->n : 0;
}

bool deliver_exchanges(const struct deliver *d)
{
	return d->exchange.asking;
}

struct deliver *deliver_new(const struct deliver_setup *s)
{
	struct deliver *d = calloc(1, sizeof *d);

	if (d)
		*d = (struct deliver){ .s = *s, .exchange = { .failed = "messages are not taken" } };
	return d;
}

void deliver_free(struct deliver *d)
{
	while (d && d->first)
		remove_delivery(d->first);
	free(d);
}
