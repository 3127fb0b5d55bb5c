#include "send.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "common/channels/json_get.h"
#include "common/channels/message.h"
#include "common/channels/transfer.h"
#include "common/clock.h"
#include "common/embed.h"
#include "common/net/hide.h"
#include "common/utf8.h"

EMBED(sql_progress, "fleet_watch/sql/progress.sql");

enum {
	LEASE_SPARE_S = 10, /* for the outcome to reach the database */
	AGAIN_MAX = 1,      /* how often a part is sent once more at once */
	SECRETS_MAX = 8,
};

struct send {
	struct send_setup s;
	void *data;
	struct message message;
	const struct channel_kind *kind;
	struct transfer *transfer; /* under way, or NULL */
	size_t part, parts;
	int again;              /* how often this part was sent once more */
	int64_t lease_until_us; /* monotonic */
	int64_t renewed_us;     /* when the renewal under way was asked for */
	bool waits;             /* for the database, to renew */
	struct verdict worst;
};

static void next_part(struct send *x);

int64_t send_lease_s(const struct watch_conf *conf)
{
	return conf->delivery_timeout_s + LEASE_SPARE_S;
}

const struct message *send_message(const struct send *x)
{
	return &x->message;
}

const struct verdict *send_verdict(const struct send *x)
{
	return &x->worst;
}

const char *send_progress(const struct send *x)
{
	return json_object_to_json_string_ext(x->message.progress, JSON_C_TO_STRING_PLAIN);
}

/* ---- its end ------------------------------------------------------------------------------ */

/* Peers and libraries may repeat a secret in what they say. */
static void hide_secrets(const struct message *m, char why[ERR_MSG_MAX])
{
	struct json_members w = json_members(m->secrets);
	struct json_object *value;
	struct secret list[SECRETS_MAX];
	const char *name;
	char hidden[ERR_MSG_MAX];
	size_t n = 0;

	while (json_next(&w, &name, &value)) {
		const char *text = json_object_get_string(value);

		if (!text || !*text || n == SECRETS_MAX)
			continue;
		list[n] = (struct secret){ text, n ? &list[n - 1] : NULL };
		n++;
	}
	if (!n)
		return;
	if (!secrets_hide(&list[n - 1], why, hidden, sizeof hidden))
		snprintf(hidden, sizeof hidden, "the peer's answer repeats a secret and is not shown");
	memcpy(why, hidden, sizeof hidden);
}

/* As the database takes it: whole characters of UTF-8, no control characters. */
static void make_plain(char why[ERR_MSG_MAX])
{
	struct buf plain = BUF(4L * ERR_MSG_MAX);

	message_plain(&plain, text_of(why));
	snprintf(why, ERR_MSG_MAX, "%.*s", (int)utf8_cut(plain.data, plain.len, ERR_MSG_MAX - 1),
		 plain.data ? plain.data : "");
	buf_free(&plain);
}

static void finish(struct send *x, enum what what, const char *why)
{
	x->worst.what = what;
	if (why && why != x->worst.why)
		snprintf(x->worst.why, sizeof x->worst.why, "%s", why);
	hide_secrets(&x->message, x->worst.why);
	make_plain(x->worst.why);
	x->s.over(x->data, true, NULL);
}

/* The verdict of the whole is that of its worst part. */
static void note_verdict(struct send *x, const struct verdict *v)
{
	char before[ERR_MSG_MAX];

	if (!*x->worst.why) {
		x->worst = *v;
		return;
	}
	snprintf(before, sizeof before, "%s", x->worst.why);
	if (v->what == THIS_LATER)
		x->worst.what = THIS_LATER;
	snprintf(x->worst.why, sizeof x->worst.why, "%.500s; %.500s", before, v->why);
}

static void all_parts_done(struct send *x)
{
	if (x->worst.what == THIS_LATER)
		finish(x, LATER, NULL);
	else if (message_count(&x->message, "accepted"))
		finish(x, ACCEPTED, NULL);
	else
		finish(x, NOT_THIS_CHANNEL, NULL);
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
	next_part(x);
}

/* Tell the database what was accepted so far, and ask for more time. */
static void renew(struct send *x)
{
	char lease[32];
	const char *const params[] = { x->message.id, x->s.watcher, send_progress(x), lease };

	snprintf(lease, sizeof lease, "%" PRId64, send_lease_s(x->s.conf));
	x->renewed_us = mono_us();
	watch_db_ask(x->s.db, sql_progress, 4, params, on_renewed, x);
}

/* When a part goes out until then, its request is over before the lease is. */
static int64_t connect_before_us(const struct send *x)
{
	return x->lease_until_us - x->s.conf->delivery_timeout_s * US_PER_S;
}

void send_database_up(struct send *x)
{
	if (x->waits)
		renew(x);
}

/* ---- parts -------------------------------------------------------------------------------- */

static void part_key(const struct send *x, char key[PART_KEY_SIZE])
{
	if (x->kind->key)
		x->kind->key(&x->message, x->part, key);
	else
		snprintf(key, PART_KEY_SIZE, "%zu", x->part);
}

/* What the peer has accepted is noted before the next part goes out. */
static void part_over(struct send *x, const char *list)
{
	char key[PART_KEY_SIZE];

	part_key(x, key);
	message_note(&x->message, list, key);
	x->part++;
	x->again = 0;
	if (x->part == x->parts)
		next_part(x);
	else
		renew(x);
}

static void act(struct send *x, const struct verdict *v)
{
	switch (v->what) {
	case ACCEPTED: part_over(x, "accepted"); return;
	case AGAIN:
		if (x->again++ < AGAIN_MAX)
			next_part(x);
		else
			finish(x, LATER, v->why);
		return;
	case THIS_LATER:
		note_verdict(x, v);
		x->part++;
		next_part(x);
		return;
	case NOT_THIS_PART:
		note_verdict(x, v);
		part_over(x, "refused");
		return;
	case LATER:
	case NOT_THIS_MESSAGE:
	case NOT_THIS_CHANNEL:
		x->worst.retry_after_s = v->retry_after_s;
		finish(x, v->what, v->why);
		return;
	}
}

static void on_answer(void *data, const struct answer *a)
{
	struct send *x = data;
	struct verdict v = { .retry_after_s = -1 };

	x->transfer = NULL;
	x->kind->judge(&x->message, x->part, a, &v);
	act(x, &v);
}

/* A part that can't be made will not be made tomorrow; unless memory is short. */
static void refuse_part(struct send *x, const struct err *e)
{
	struct verdict v = { .what = e->code == ENOMEM || e->code == EAGAIN ? LATER
				     : x->kind->key                         ? NOT_THIS_PART
									    : NOT_THIS_CHANNEL,
			     .retry_after_s = -1 };

	snprintf(v.why, sizeof v.why, "%s", e->msg);
	act(x, &v);
}

static void send_part(struct send *x)
{
	struct request r;
	struct err e;

	request_init(&r);
	if (x->kind->compose(&x->message, x->part, &r, &e) < 0) {
		request_free(&r);
		refuse_part(x, &e);
		return;
	}
	r.connect_before_us = connect_before_us(x);
	x->transfer = transfer_start(x->s.glue, watch_conf_limits(x->s.conf), &r, on_answer, x, &e);
	if (!x->transfer)
		refuse_part(x, &e);
}

static bool part_is_over(const struct send *x)
{
	char key[PART_KEY_SIZE];

	part_key(x, key);
	return message_noted(&x->message, "accepted", key) || message_noted(&x->message, "refused", key);
}

static void next_part(struct send *x)
{
	while (x->part < x->parts && part_is_over(x))
		x->part++;
	if (x->part == x->parts)
		all_parts_done(x);
	else if (mono_us() <= connect_before_us(x))
		send_part(x);
	else
		renew(x);
}

/* ---- its life ----------------------------------------------------------------------------- */

void send_begin(struct send *x)
{
	struct err e;

	x->kind = channel_kind_find(x->message.channel_kind);
	if (!x->kind) {
		err_set(&e, EINVAL, "\"%.60s\" is no kind of channel that this version knows",
			x->message.channel_kind);
		finish(x, NOT_THIS_CHANNEL, e.msg);
		return;
	}
	if (channel_check(&x->message, x->kind, &e) < 0) {
		finish(x, NOT_THIS_CHANNEL, e.msg);
		return;
	}
	x->parts = x->kind->parts(&x->message);
	if (x->parts == 0)
		finish(x, NOT_THIS_MESSAGE, "there is nobody to send it to, or nothing to send");
	else
		next_part(x);
}

struct send *send_new(const struct send_setup *s, struct json_object *row, int64_t lease_until_us, void *data,
		      struct err *e)
{
	struct send *x = calloc(1, sizeof *x);

	if (!x) {
		json_object_put(row);
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	*x = (struct send){ .s = *s,
			    .data = data,
			    .lease_until_us = lease_until_us,
			    .worst = { .what = ACCEPTED, .retry_after_s = -1 } };
	if (message_make(&x->message, row, s->conf->public_url, e) < 0) {
		send_free(x);
		return NULL;
	}
	return x;
}

void send_free(struct send *x)
{
	if (!x)
		return;
	transfer_cancel(x->transfer);
	message_free(&x->message);
	free(x);
}
