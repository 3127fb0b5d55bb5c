/*
 * transfer.h - one request to a peer, by libcurl, and what came back.
 *
 * Owns the limits: of time, of the bytes that are read, of protocols, and of addresses (a channel must not
 * lead to this machine or to a cloud's metadata). Follows no redirect, uses no proxy, and never sends twice
 * by itself: each request has its own connection. Mail has a thread,
 * because libcurl blocks there. Leaves out what an answer means (channel.h).
 */
#ifndef COMMON_TRANSFER_H
#define COMMON_TRANSFER_H

#include "channel.h"
#include "common/loop/curl_glue.h"

struct transfer;

struct transfer_limits {
	int64_t timeout_s;
	const char *ca_file;     /* "": what this machine trusts */
	const char *local_peers; /* who may be on this machine: "refuse" (nobody), "mail" or "allow" */
};

/* `a` lives during the call. */
typedef void transfer_done(void *data, const struct answer *a);

/* Start a POST of r->body, or a mail; without a body a GET. Takes what is in `r`, also on failure. `done` is
 * called once, not from here, unless transfer_cancel() comes first; the transfer is gone when it returns. */
struct transfer *transfer_start(struct curl_glue *glue, struct transfer_limits limits, struct request *r,
				transfer_done *done, void *data, struct err *e);

/* Accepts NULL. */
void transfer_cancel(struct transfer *t);

void request_init(struct request *r);
void request_free(struct request *r);

#endif
