/*
 * resolve.h - looks up the addresses of servers' names outside of the loop.
 *
 * Promises that a hung lookup (the C library's may take minutes) blocks nothing: it runs in its
 * own thread, there is never more than one, and the process does not wait for it to exit. Leaves
 * out what to do without an answer.
 */
#ifndef OBSERV_RESOLVE_H
#define OBSERV_RESOLVE_H

#include <systemd/sd-event.h>

#include "common/err.h"
#include "common/net/names.h"

struct resolver;

int resolver_new(sd_event *loop, void (*done)(void *data, const struct resolve_names *answer), void *data,
		 struct resolver **ret, struct err *e);
void resolver_free(struct resolver *r);

/* Look up `names` (only their names are read) and call done() later. While an earlier lookup hangs,
 * no new one starts: done() is called for that one. */
int resolver_ask(struct resolver *r, const struct resolve_names *names, struct err *e);

#endif
