#include "sending.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "conceal.h"

enum { AGAIN_MAX = 1 }; /* how often a part is sent once more at once */

struct sending {
	struct sending_setup s;
	struct message message;
	const struct channel_kind *kind;
	struct transfer *transfer; /* under way, or NULL */
	size_t part, parts;
	int again;     /* how often this part was sent once more */
	bool went_out; /* a request without an answer may have arrived */
	struct verdict worst;
};

static void next_part(struct sending *x);

/* ---- its end ------------------------------------------------------------------------------ */

static void finish(struct sending *x, enum what what, const char *why)
{
	x->worst.what = what;
	if (why && why != x->worst.why)
		snprintf(x->worst.why, sizeof x->worst.why, "%s", why);
	conceal(&x->message, text_of(x->worst.why), ERR_MSG_MAX - 1, x->worst.why);
	x->s.over(x->s.data, &x->worst, x->went_out);
}

static void all_parts_done(struct sending *x)
{
	if (x->worst.what == THIS_LATER)
		finish(x, LATER, NULL);
	else if (message_count(&x->message, "accepted"))
		finish(x, ACCEPTED, NULL);
	else
		finish(x, NOT_THIS_CHANNEL, NULL);
}

/* ---- parts -------------------------------------------------------------------------------- */

/* The verdict of the whole is that of its worst part. */
static void note_verdict(struct sending *x, const struct verdict *v)
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

static void part_key(const struct sending *x, char key[PART_KEY_SIZE])
{
	if (x->kind->key)
		x->kind->key(&x->message, x->part, key);
	else
		snprintf(key, PART_KEY_SIZE, "%zu", x->part);
}

static void part_over(struct sending *x, const char *list)
{
	char key[PART_KEY_SIZE];

	part_key(x, key);
	message_note(&x->message, list, key);
	x->part++;
	x->again = 0;
	next_part(x);
}

static void act(struct sending *x, const struct verdict *v)
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
	struct sending *x = data;
	struct verdict v = { .retry_after_s = -1 };

	x->transfer = NULL;
	x->went_out |= a->went_out && a->status == 0;
	x->kind->judge(&x->message, x->part, a, &v);
	act(x, &v);
}

/* A part that can't be made will not be made tomorrow; unless memory is short. */
static void refuse_part(struct sending *x, const struct err *e)
{
	struct verdict v = { .what = e->code == ENOMEM || e->code == EAGAIN ? LATER
				     : x->kind->key                         ? NOT_THIS_PART
									    : NOT_THIS_CHANNEL,
			     .retry_after_s = -1 };

	snprintf(v.why, sizeof v.why, "%s", e->msg);
	act(x, &v);
}

static void send_part(struct sending *x, int64_t connect_before_us)
{
	struct request r;
	struct err e;

	request_init(&r);
	if (x->kind->compose(&x->message, x->part, &r, &e) < 0) {
		request_free(&r);
		refuse_part(x, &e);
		return;
	}
	r.trusted = x->s.trusted;
	r.connect_before_us = connect_before_us;
	x->transfer = transfer_start(x->s.glue, x->s.limits, &r, on_answer, x, &e);
	if (!x->transfer)
		refuse_part(x, &e);
}

static bool part_is_over(const struct sending *x)
{
	char key[PART_KEY_SIZE];

	part_key(x, key);
	return message_noted(&x->message, "accepted", key) || message_noted(&x->message, "refused", key);
}

static void next_part(struct sending *x)
{
	int64_t connect_before_us = 0;

	while (x->part < x->parts && part_is_over(x))
		x->part++;
	if (x->part == x->parts)
		all_parts_done(x);
	else if (!x->s.may_send || x->s.may_send(x->s.data, &connect_before_us))
		send_part(x, connect_before_us);
}

void sending_go_on(struct sending *x)
{
	next_part(x);
}

/* ---- its life ----------------------------------------------------------------------------- */

static int find_kind(struct sending *x, struct err *e)
{
	x->kind = channel_kind_find(x->message.channel_kind);
	if (!x->kind)
		return err_set(e, EINVAL, "\"%.60s\" is no kind of channel that this version knows",
			       x->message.channel_kind);
	return channel_check(&x->message, x->kind, e);
}

void sending_begin(struct sending *x)
{
	struct err e;

	x->worst = (struct verdict){ .what = ACCEPTED, .retry_after_s = -1 };
	x->part = 0;
	x->again = 0;
	x->went_out = false;
	if (find_kind(x, &e) < 0) {
		finish(x, NOT_THIS_CHANNEL, e.msg);
		return;
	}
	x->parts = x->kind->parts(&x->message);
	if (x->parts == 0)
		finish(x, NOT_THIS_MESSAGE, "there is nobody to send it to, or nothing to send");
	else
		next_part(x);
}

int sending_new(const struct sending_setup *s, struct json_object *row, struct sending **ret, struct err *e)
{
	struct sending *x = calloc(1, sizeof *x);
	int r;

	if (!x) {
		json_object_put(row);
		return err_set(e, ENOMEM, "out of memory");
	}
	x->s = *s;
	r = message_make(&x->message, row, s->public_url ? s->public_url : "", e);
	if (r < 0) {
		sending_free(x);
		return r;
	}
	*ret = x;
	return 0;
}

const struct message *sending_message(const struct sending *x)
{
	return &x->message;
}

void sending_free(struct sending *x)
{
	if (!x)
		return;
	transfer_cancel(x->transfer);
	message_free(&x->message);
	free(x);
}

/* Each part is made once: of a mail with several recipients each has to be right. */
int sending_check(struct json_object *row, struct err *e)
{
	struct sending_setup nobody = { 0 };
	struct sending *x;
	struct request r;
	int result = sending_new(&nobody, row, &x, e);

	if (result < 0)
		return result;
	result = find_kind(x, e);
	x->parts = result == 0 ? x->kind->parts(&x->message) : 0;
	if (result == 0 && x->parts == 0)
		result = err_set(e, EINVAL, "there is nobody to send it to");
	for (; result == 0 && x->part < x->parts; x->part++) {
		request_init(&r);
		result = x->kind->compose(&x->message, x->part, &r, e);
		request_free(&r);
	}
	sending_free(x);
	return result;
}
