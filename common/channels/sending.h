/*
 * sending.h - one message on its way to its peer, part by part.
 *
 * Owns the message, the request under way and what became of the parts. Promises that the text of its
 * verdict shows no secret of the channel. The caller decides when a message is sent again. All calls come
 * from the thread of the loop behind `glue`.
 */
#ifndef COMMON_SENDING_H
#define COMMON_SENDING_H

#include <stdint.h>

#include "channel.h"
#include "message.h"
#include "transfer.h"

struct json_object;
struct sending;

struct sending_setup {
	struct curl_glue *glue;
	struct transfer_limits limits;
	bool trusted;           /* the settings are the operator's own: they may lead to any address */
	const char *public_url; /* of the hub, for links. NULL: none */
	/* Whether the next part may go out, and until when it has to be connected (monotonic clock). false:
	 * sending_go_on() asks again. NULL: each part may. */
	bool (*may_send)(void *data, int64_t *connect_before_us);
	/* The sending has ended. `v` lives during the call. went_out: a request got no answer, so the peer
	 * may have received it. */
	void (*over)(void *data, const struct verdict *v, bool went_out);
	void *data;
};

/* Takes over the caller's reference to `row` (message_make() says what it holds), also on failure. Below 0:
 * an error, and e says which. The caller frees *ret with sending_free(). */
int sending_new(const struct sending_setup *s, struct json_object *row, struct sending **ret, struct err *e);

/* Send the parts that the peer has not accepted yet. over() may be called before this returns. */
void sending_begin(struct sending *x);

/* After may_send() said no: ask it again. over() may be called before this returns. */
void sending_go_on(struct sending *x);

/* The message, with what was accepted and refused so far. It lives as long as `x`. */
const struct message *sending_message(const struct sending *x);

/* Ends what is under way; over() is not called after this. Accepts NULL. */
void sending_free(struct sending *x);

/* Whether a request can be made of the row: the kind and all settings are right. Takes over the
 * reference to the row. */
int sending_check(struct json_object *row, struct err *e);

#endif
