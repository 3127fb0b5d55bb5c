#include "deliver.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "common/channels/channel.h"
#include "common/channels/json_get.h"
#include "common/channels/message.h"
#include "common/channels/transfer.h"
#include "common/clock.h"
#include "common/embed.h"
#include "common/net/hide.h"
#include "common/utf8.h"

EMBED(sql_progress, "fleet_watch/sql/progress.sql");
EMBED(sql_sent, "fleet_watch/sql/sent.sql");
EMBED(sql_failed, "fleet_watch/sql/failed.sql");

enum {
	LEASE_SPARE_S = 10, /* for the outcome to reach the database */
	AGAIN_MAX = 1,      /* how often a part is sent once more at once */
	SECRETS_MAX = 8,
};

/* One message, from when it was taken until its outcome is known. */
struct delivery {
	struct deliver *deliver;
	struct delivery *next;
	struct message message;
	const struct channel_kind *kind;
	struct transfer *transfer; /* under way, or NULL */
	size_t part, parts;
	int again; /* how often this part was sent once more */
	bool over; /* `worst` is to be told to the database */
	bool told; /* and is under way there */
	struct verdict worst;
	int64_t begin_us;
};

struct deliver {
	struct deliver_setup s;
	struct delivery *first;
	size_t n;
};

static void next_part(struct delivery *x);

int64_t deliver_lease_s(const struct watch_conf *conf)
{
	return conf->delivery_timeout_s + LEASE_SPARE_S;
}

/* ---- outcomes ----------------------------------------------------------------------------- */

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

static const char *progress_of(const struct delivery *x)
{
	return json_object_to_json_string_ext(x->message.progress, JSON_C_TO_STRING_PLAIN);
}

static void remove_delivery(struct delivery *x)
{
	struct deliver *d = x->deliver;

	for (struct delivery **at = &d->first; *at; at = &(*at)->next)
		if (*at == x) {
			*at = x->next;
			break;
		}
	d->n--;
	transfer_cancel(x->transfer);
	message_free(&x->message);
	free(x);
}

static void on_told(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct delivery *x = data;
	struct deliver *d = x->deliver;
	const struct deliver_outcome o = { x->message.channel, x->message.kind, x->worst.what == ACCEPTED,
					   x->worst.why };

	x->told = false;
	if (lost)
		return; /* told again when the database is there */
	if (!r)
		logcore_error(d->s.log, "the database does not take the outcome of a message",
			      logcore_kv("notification", x->message.id), logcore_kv("error", e->msg));
	d->s.ended(d->s.data, &o);
	remove_delivery(x);
}

static void tell(struct delivery *x)
{
	static const char *const words[] = {
		[LATER] = "retry",           [THIS_LATER] = "retry",         [AGAIN] = "retry",
		[NOT_THIS_PART] = "message", [NOT_THIS_MESSAGE] = "message", [NOT_THIS_CHANNEL] = "channel"
	};
	const struct deliver *d = x->deliver;
	const struct verdict *v = &x->worst;
	char after[32];
	const char *sent[] = { x->message.id, progress_of(x), *v->why ? v->why : NULL };
	const char *failed[] = {
		x->message.id, d->s.watcher, words[v->what], v->why, v->retry_after_s > 0 ? after : NULL,
		progress_of(x)
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
	const struct message *m = &x->message;
	int64_t ms = (mono_us() - x->begin_us) / US_PER_MS;
	int64_t attempt = json_object_get_int64(json_get(m->row, "attempts"));

	if (x->worst.what == ACCEPTED && !*x->worst.why)
		logcore_info(log, "message delivered", logcore_kv("channel", m->channel),
			     logcore_kv("kind", m->kind), logcore_kv("notification", m->id),
			     logcore_kv("attempt", attempt), logcore_kv("ms", ms));
	else
		logcore_warning(log,
				x->worst.what == ACCEPTED ? "message delivered in part"
							  : "message not delivered",
				logcore_kv("channel", m->channel), logcore_kv("kind", m->kind),
				logcore_kv("notification", m->id), logcore_kv("attempt", attempt),
				logcore_kv("error", x->worst.why));
}

static void finish(struct delivery *x, enum what what, const char *why)
{
	x->worst.what = what;
	if (why && why != x->worst.why)
		snprintf(x->worst.why, sizeof x->worst.why, "%s", why);
	hide_secrets(&x->message, x->worst.why);
	make_plain(x->worst.why);
	x->over = true;
	log_outcome(x);
	tell(x);
}

/* ---- parts -------------------------------------------------------------------------------- */

static void part_key(const struct delivery *x, char key[PART_KEY_SIZE])
{
	if (x->kind->key)
		x->kind->key(&x->message, x->part, key);
	else
		snprintf(key, PART_KEY_SIZE, "%zu", x->part);
}

/* The verdict of the whole is that of its worst part. */
static void note_verdict(struct delivery *x, const struct verdict *v)
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

static void all_parts_done(struct delivery *x)
{
	if (x->worst.what == THIS_LATER)
		finish(x, LATER, NULL);
	else if (message_count(&x->message, "accepted"))
		finish(x, ACCEPTED, NULL);
	else
		finish(x, NOT_THIS_CHANNEL, NULL);
}

static void on_progress(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct delivery *x = data;

	(void)r;
	(void)lost;
	(void)e;
	x->told = false;
	next_part(x);
}

/* What the peer has accepted is noted before the next part goes out. */
static void part_over(struct delivery *x, const char *list)
{
	const struct deliver *d = x->deliver;
	char key[PART_KEY_SIZE], lease[32];
	const char *params[] = { x->message.id, NULL, lease };

	part_key(x, key);
	message_note(&x->message, list, key);
	x->part++;
	x->again = 0;
	params[1] = progress_of(x);
	snprintf(lease, sizeof lease, "%" PRId64, deliver_lease_s(d->s.conf));
	if (x->part == x->parts) {
		next_part(x);
		return;
	}
	x->told = true;
	watch_db_ask(d->s.db, sql_progress, 3, params, on_progress, x);
}

static void act(struct delivery *x, const struct verdict *v)
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
	struct delivery *x = data;
	struct verdict v = { .retry_after_s = -1 };

	x->transfer = NULL;
	x->kind->judge(&x->message, x->part, a, &v);
	act(x, &v);
}

/* A part that can't be made will not be made tomorrow; unless memory is short. */
static void refuse_part(struct delivery *x, const struct err *e)
{
	struct verdict v = { .what = e->code == ENOMEM || e->code == EAGAIN ? LATER
				     : x->kind->key                         ? NOT_THIS_PART
									    : NOT_THIS_CHANNEL,
			     .retry_after_s = -1 };

	snprintf(v.why, sizeof v.why, "%s", e->msg);
	act(x, &v);
}

static void send_part(struct delivery *x)
{
	const struct deliver *d = x->deliver;
	struct request r;
	struct err e;

	request_init(&r);
	if (x->kind->compose(&x->message, x->part, &r, &e) < 0) {
		request_free(&r);
		refuse_part(x, &e);
		return;
	}
	x->transfer = transfer_start(d->s.glue, watch_conf_limits(d->s.conf), &r, on_answer, x, &e);
	if (!x->transfer)
		refuse_part(x, &e);
}

static bool part_is_over(const struct delivery *x)
{
	char key[PART_KEY_SIZE];

	part_key(x, key);
	return message_noted(&x->message, "accepted", key) || message_noted(&x->message, "refused", key);
}

static void next_part(struct delivery *x)
{
	while (x->part < x->parts && part_is_over(x))
		x->part++;
	if (x->part == x->parts)
		all_parts_done(x);
	else
		send_part(x);
}

/* ---- messages ----------------------------------------------------------------------------- */

static void begin(struct delivery *x)
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

void deliver_begin(struct deliver *d, struct json_object *row)
{
	struct delivery *x = calloc(1, sizeof *x);
	struct err e;

	if (!x) {
		json_object_put(row); /* its lease runs out */
		return;
	}
	*x = (struct delivery){ .deliver = d,
				.next = d->first,
				.begin_us = mono_us(),
				.worst = { .what = ACCEPTED, .retry_after_s = -1 } };
	d->first = x;
	d->n++;
	if (message_make(&x->message, row, d->s.conf->public_url, &e) < 0) {
		logcore_error(d->s.log, "a message can't be read", logcore_kv("error", e.msg));
		remove_delivery(x);
		return;
	}
	begin(x);
}

void deliver_database_up(struct deliver *d)
{
	struct delivery *next;

	for (struct delivery *x = d->first; x; x = next) {
		next = x->next;
		if (x->over && !x->told)
			tell(x);
	}
}

size_t deliver_count(const struct deliver *d)
{
	return d ? d->n : 0;
}

struct deliver *deliver_new(const struct deliver_setup *s)
{
	struct deliver *d = calloc(1, sizeof *d);

	if (d)
		d->s = *s;
	return d;
}

void deliver_free(struct deliver *d)
{
	while (d && d->first)
		remove_delivery(d->first);
	free(d);
}
