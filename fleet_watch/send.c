#include "send.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>

#include "common/channels/sending.h"
#include "common/clock.h"
#include "common/embed.h"

EMBED(sql_progress, "fleet_watch/sql/progress.sql");

enum { LEASE_SPARE_S = 10 }; /* for the outcome to reach the database */

struct send {
	struct send_setup s;
	void *data;
	struct sending *sending;
	size_t told;            /* parts that the database knows to be over */
	size_t telling;         /* the same, after the renewal under way */
	int64_t lease_until_us; /* monotonic */
	int64_t renewed_us;     /* when the renewal under way was asked for */
	bool waits;             /* for the database, to renew */
	struct verdict verdict;
};

int64_t send_lease_s(const struct watch_conf *conf)
{
	return conf->delivery_timeout_s + LEASE_SPARE_S;
}

const struct message *send_message(const struct send *x)
{
	return sending_message(x->sending);
}

const struct verdict *send_verdict(const struct send *x)
{
	return &x->verdict;
}

const char *send_progress(const struct send *x)
{
	return json_object_to_json_string_ext(send_message(x)->progress, JSON_C_TO_STRING_PLAIN);
}

static size_t parts_over(const struct send *x)
{
	const struct message *m = send_message(x);

	return message_count(m, "accepted") + message_count(m, "refused");
}

/* ---- the lease ---------------------------------------------------------------------------- */

static void on_renewed(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct send *x = data;

	x->waits = lost;
	if (lost)
		return;
	if (!r || !PQntuples(r) || *PQgetvalue(r, 0, 0) != 't') {
		x->s.over(x->data, false, r ? "another watcher has taken it over" : e->msg);
		return;
	}
	x->lease_until_us = x->renewed_us + send_lease_s(x->s.conf) * US_PER_S;
	x->told = x->telling;
	sending_go_on(x->sending);
}

/* Tell the database what was accepted so far, and ask for more time. */
static void renew(struct send *x)
{
	char lease[32];
	const char *const params[] = { send_message(x)->id, x->s.watcher, send_progress(x), lease };

	snprintf(lease, sizeof lease, "%" PRId64, send_lease_s(x->s.conf));
	x->telling = parts_over(x);
	x->renewed_us = mono_us();
	watch_db_ask(x->s.db, sql_progress, 4, params, on_renewed, x);
}

/* What the peer has accepted is noted before the next part goes out, and a request of the next part is over
 * before the lease is. */
static bool may_send(void *data, int64_t *connect_before_us)
{
	struct send *x = data;

	*connect_before_us = x->lease_until_us - x->s.conf->delivery_timeout_s * US_PER_S;
	if (x->told == parts_over(x) && mono_us() <= *connect_before_us)
		return true;
	renew(x);
	return false;
}

void send_database_up(struct send *x)
{
	if (x->waits)
		renew(x);
}

/* ---- its life ----------------------------------------------------------------------------- */

static void on_over(void *data, const struct verdict *v, bool went_out)
{
	struct send *x = data;

	(void)went_out;
	x->verdict = *v;
	x->s.over(x->data, true, NULL);
}

void send_begin(struct send *x)
{
	x->told = parts_over(x);
	sending_begin(x->sending);
}

struct send *send_new(const struct send_setup *s, struct json_object *row, int64_t lease_until_us, void *data,
		      struct err *e)
{
	struct send *x = calloc(1, sizeof *x);
	const struct sending_setup setup = { .glue = s->glue,
					     .limits = watch_conf_limits(s->conf),
					     .public_url = s->conf->public_url,
					     .may_send = may_send,
					     .over = on_over,
					     .data = x };

	if (!x) {
		json_object_put(row);
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	*x = (struct send){ .s = *s,
			    .data = data,
			    .lease_until_us = lease_until_us,
			    .verdict = { .what = ACCEPTED, .retry_after_s = -1 } };
	if (sending_new(&setup, row, &x->sending, e) < 0) {
		send_free(x);
		return NULL;
	}
	return x;
}

void send_free(struct send *x)
{
	if (!x)
		return;
	sending_free(x->sending);
	free(x);
}
